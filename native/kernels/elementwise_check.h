// What elementwise kernels, reductions and copies check before they touch anything; on every device.
#pragma once
#include "../core/elementwise.h"
#include "../kernels.h"
#include "strided.h"

namespace osc {

enum ReduceOp : int64_t { kReduceSum, kReduceMax, kReduceOps };  // the order is that of lib/ops/reduce.ts

inline Status check(const UnaryArgs& args) {
  const Tensor &x = args.x, &weight = args.weight, &y = args.y;
  if (args.op < 0 || args.op >= kUnaryOps || args.order < 0 || args.order >= kOrders) {
    return fail(OSC_ARGUMENT, 0, "no such op or order");
  }
  if (!is_real(y) || x.dtype != y.dtype || !same_shape(x, y) || !is_contiguous(y) ||
      (weight.data && (weight.dtype != y.dtype || !same_shape(weight, y)))) {
    return fail(OSC_ARGUMENT, 0, "x, weight and y must have one shape and one real dtype, y contiguous");
  }
  return ok();
}

inline Status check(const BinaryArgs& args) {
  const Tensor &a = args.a, &b = args.b, &y = args.y;
  if (args.op < 0 || args.op >= kBinaryOps) return fail(OSC_ARGUMENT, 0, "no such op");
  if (!is_real(y) || a.dtype != y.dtype || b.dtype != y.dtype || !same_shape(a, y) || !same_shape(b, y) ||
      !is_contiguous(y)) {
    return fail(OSC_ARGUMENT, 0, "a, b and y must have one shape and one real dtype, y contiguous");
  }
  return ok();
}

inline Status check(const CompareArgs& args) {
  const Tensor &a = args.a, &b = args.b, &y = args.y;
  if (args.op < 0 || args.op >= kCompareOps) return fail(OSC_ARGUMENT, 0, "no such op");
  if (!is_real(a) || a.dtype != b.dtype || y.dtype != OSC_BOOL || !same_shape(a, y) || !same_shape(b, y) ||
      !is_contiguous(y)) {
    return fail(OSC_ARGUMENT, 0, "a, b and y must have one shape, a and b one real dtype, y bool and contiguous");
  }
  return ok();
}

inline Status check(const SelectArgs& args) {
  const Tensor &condition = args.condition, &a = args.a, &b = args.b, &y = args.y;
  if (!is_real(y) || condition.dtype != OSC_BOOL || a.dtype != y.dtype || b.dtype != y.dtype ||
      !same_shape(condition, y) || !same_shape(a, y) || !same_shape(b, y) || !is_contiguous(y)) {
    return fail(OSC_ARGUMENT, 0, "condition must be bool, a, b and y one real dtype, all one shape, y contiguous");
  }
  return ok();
}

inline Status check(const ReduceArgs& args) {
  const Tensor &x = args.x, &y = args.y;
  if (args.op < 0 || args.op >= kReduceOps) return fail(OSC_ARGUMENT, 0, "no such op");
  bool fits = is_real(x) && x.dtype == y.dtype && x.rank == y.rank && is_contiguous(y);
  for (int d = 0; fits && d < x.rank; ++d) fits = y.shape[d] == 1 || y.shape[d] == x.shape[d];
  return fits ? ok() : fail(OSC_ARGUMENT, 0, "y must have the shape of x with 1 for reduced dimensions");
}

inline Status check(const CopyArgs& args) {
  const bool same = args.x.dtype == args.y.dtype && same_shape(args.x, args.y);
  return same ? ok() : fail(OSC_ARGUMENT, 0, "x and y must have one shape and dtype");
}

// The dimensions of x that a reduction keeps, and those it sums over: where y has 1.
struct ReducedViews {
  Walk<1> outputs, inputs;
  int64_t output_count, input_count;

  ReducedViews(const Tensor& x, const Tensor& y) {
    Tensor kept{}, reduced{};
    for (int d = 0; d < x.rank; ++d) {
      Tensor& part = y.shape[d] == 1 ? reduced : kept;
      part.shape[part.rank] = x.shape[d];
      part.strides[part.rank++] = x.strides[d];
    }
    outputs = Walk<1>({&kept});
    inputs = Walk<1>({&reduced});
    output_count = size_of(kept);
    input_count = size_of(reduced);
  }
};

}  // namespace osc
