// Loops over one row of a matrix with a code path per instruction set: rows_body.inc is compiled once per path.
#pragma once
#include <cstdint>

namespace osc {

template <class E>
struct RowLoops {
  double (*sum)(const E* x, int64_t count);                    // in float64, lanes added at the end in order
  void (*add)(double* sums, const E* x, int64_t count);        // sums_i += x_i
  E (*largest)(const E* x, int64_t count);                     // NaN if there is one; count > 0
  void (*keep_largest)(E* kept, const E* x, int64_t count);    // kept_i = max(kept_i, x_i), NaN from either
};

struct Rows {
  RowLoops<float> float32;
  RowLoops<double> float64;
  template <class E>
  const RowLoops<E>& of() const {
    if constexpr (sizeof(E) == 4) return float32;
    else return float64;
  }
};

const Rows& rows();  // of cpu_path()

extern const Rows kRowsPortable;
#if defined(__x86_64__)
extern const Rows kRowsAvx2, kRowsAvx512;
#endif

}  // namespace osc
