// Elementwise loops over contiguous runs with a code path per instruction set: elementwise_body.inc is compiled once per
// path, from the formulas of core/elementwise.h.
#pragma once
#include <cstdint>

#include "../core/elementwise.h"

namespace osc {

// An operand of a run: contiguous, or one element for all.
template <class E>
struct Run {
  const E* data;
  bool repeated;
};

template <class E>
struct ElementwiseLoops {
  // y_i = w_i f(x_i), f the derivative of some order; w may be null.
  void (*unary[kUnaryOps][kOrders])(const E* x, const E* w, E* y, int64_t count, double alpha, double beta);
  void (*binary[kBinaryOps])(Run<E> a, Run<E> b, E* y, int64_t count);
  void (*compare[kCompareOps])(Run<E> a, Run<E> b, uint8_t* y, int64_t count);
  // y_i = condition_i ? a_i : b_i
  void (*select)(Run<uint8_t> condition, Run<E> a, Run<E> b, E* y, int64_t count);
};

struct Elementwise {
  ElementwiseLoops<float> float32;
  ElementwiseLoops<double> float64;
  template <class E>
  const ElementwiseLoops<E>& of() const {
    if constexpr (sizeof(E) == 4) return float32;
    else return float64;
  }
};

const Elementwise& elementwise();  // of cpu_path()

extern const Elementwise kElementwisePortable;
#if defined(__x86_64__)
extern const Elementwise kElementwiseAvx2, kElementwiseAvx512;
#endif

}  // namespace osc
