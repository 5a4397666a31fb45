// What the kernels over vectors and rows check before they touch anything; on every device.
#pragma once
#include "../kernels.h"

namespace osc {

// Calls f(T{}) for float32 and float64; ARGUMENT for another dtype.
template <class F>
Status with_real(int32_t dtype, F&& f) {
  if (dtype == OSC_FLOAT32) return f(float{});
  if (dtype == OSC_FLOAT64) return f(double{});
  return fail(OSC_ARGUMENT, 0, "expected float32 or float64");
}

enum Reduction : int64_t { kSum = 0, kDot = 1, kNorm = 2, kLargest = 3 };  // the order of lib/ops/vector-reduce.ts

struct VectorRows {
  int64_t count = 0, size = 0, stride = 0;
};

inline Status check_vector_reduce(const VectorReduceArgs& args, VectorRows* rows) {
  const Tensor &x = args.x, &y = args.y;
  const int64_t count = size_of(args.result), size = count ? size_of(x) / count : 0;
  if (args.result.dtype != OSC_FLOAT64 || !is_contiguous(args.result) || count * size != size_of(x)) {
    return fail(OSC_ARGUMENT, 0, "result must be float64, one for each row");
  }
  const bool matrix = x.rank == 2 && x.shape[0] == count && (x.strides[1] == 1 || size < 2);
  if (!matrix && !is_contiguous(x)) return fail(OSC_ARGUMENT, 0, "x must have contiguous rows");
  if (count > 0 && args.operation == kDot && (size_of(y) != size || y.dtype != x.dtype || !is_contiguous(y))) {
    return fail(OSC_ARGUMENT, 0, "y must be a vector of the length and dtype of a row");
  }
  rows->count = count;
  rows->size = size;
  rows->stride = matrix ? x.strides[0] : size;
  return ok();
}

inline Status check_axpby(const AxpbyArgs& args) {
  const Tensor &x = args.x, &y = args.y;
  if (!is_contiguous(y) || (size_of(x) > 0 && (!is_contiguous(x) || size_of(x) != size_of(y) || x.dtype != y.dtype))) {
    return fail(OSC_ARGUMENT, 0, "x and y must be contiguous, of one size and dtype");
  }
  return ok();
}

inline Status check_combine_rows(const CombineRowsArgs& args) {
  const Tensor &c = args.coefficients, &x = args.x, &y = args.y;
  if (x.rank != 2 || y.rank != 2 || x.dtype != y.dtype || x.shape[1] != y.shape[1]) {
    return fail(OSC_ARGUMENT, 0, "x and y must be matrices of one dtype and row length");
  }
  if ((x.shape[1] > 1 && (x.strides[1] != 1 || y.strides[1] != 1)) || c.dtype != OSC_FLOAT64 || !is_contiguous(c) ||
      size_of(c) != y.shape[0] * x.shape[0]) {
    return fail(OSC_ARGUMENT, 0, "rows must be contiguous and coefficients float64 [rows of y, rows of x]");
  }
  return ok();
}

inline Status check_cg_update(const CgUpdateArgs& args) {
  for (const Tensor* t : {&args.p, &args.ap, &args.x, &args.r}) {
    if (size_of(*t) != size_of(args.x) || t->dtype != args.x.dtype || !is_contiguous(*t)) {
      return fail(OSC_ARGUMENT, 0, "p, ap, x and r must be contiguous, of one size and dtype");
    }
  }
  if (size_of(args.rr) != 1 || args.rr.dtype != OSC_FLOAT64) return fail(OSC_ARGUMENT, 0, "rr must be one float64");
  return ok();
}

}  // namespace osc
