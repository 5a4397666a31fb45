// Shapes of batches of matrices and the checks of the dense kernels, shared by the CPU and the GPU version.
#pragma once
#include "../kernels.h"

namespace osc {

// Number of matrices in t, whose last two dimensions are the matrix.
inline int64_t batch_of(const Tensor& t) {
  int64_t count = 1;
  for (int i = 0; i < t.rank - 2; ++i) count *= t.shape[i];
  return count;
}

// Whether t is a contiguous batch of `rows` x `columns` matrices of this dtype with the leading dimensions of `like`.
inline bool is_batch(const Tensor& t, const Tensor& like, int32_t dtype, int64_t rows, int64_t columns) {
  if (t.rank != like.rank || t.rank < 2 || t.dtype != dtype || !is_contiguous(t)) return false;
  for (int i = 0; i < t.rank - 2; ++i) {
    if (t.shape[i] != like.shape[i]) return false;
  }
  return t.shape[t.rank - 2] == rows && t.shape[t.rank - 1] == columns;
}

// The last dimension of a batch of matrices, -1 without one.
inline int64_t order_of(const Tensor& t) { return t.rank >= 2 ? t.shape[t.rank - 1] : -1; }

inline bool is_real_dtype(int32_t dtype) { return dtype == OSC_FLOAT32 || dtype == OSC_FLOAT64; }

inline Status check(const CholeskyArgs& args) {
  const Tensor& a = args.a;
  const int64_t n = order_of(a);
  if (n < 0 || !is_batch(a, a, a.dtype, n, n) || !is_batch(args.factor, a, a.dtype, n, n)) {
    return fail(OSC_ARGUMENT, 0, "a and factor must be contiguous [..., n, n] of one dtype");
  }
  return is_real_dtype(a.dtype) ? ok() : fail(OSC_ARGUMENT, 0, "a must be float32 or float64");
}

inline Status check(const CholeskyInverseArgs& args) {
  const Tensor& factor = args.factor;
  const int64_t n = order_of(factor);
  if (n < 0 || !is_batch(factor, factor, factor.dtype, n, n) || !is_batch(args.inverse, factor, factor.dtype, n, n)) {
    return fail(OSC_ARGUMENT, 0, "factor and inverse must be contiguous [..., n, n] of one dtype");
  }
  return is_real_dtype(factor.dtype) ? ok() : fail(OSC_ARGUMENT, 0, "factor must be float32 or float64");
}

inline Status check(const SolveTriangularArgs& args) {
  const Tensor &t = args.triangle, &b = args.b;
  const int64_t n = order_of(t), k = order_of(b);
  if (n < 0 || k < 0 || !is_batch(t, t, t.dtype, n, n) || !is_batch(b, t, t.dtype, n, k) || !is_batch(args.x, t, t.dtype, n, k)) {
    return fail(OSC_ARGUMENT, 0, "triangle [..., n, n], b and x [..., n, k] must be contiguous and of one dtype");
  }
  return is_real_dtype(t.dtype) ? ok() : fail(OSC_ARGUMENT, 0, "triangle must be float32 or float64");
}

inline Status check(const EighArgs& args) {
  const Tensor& a = args.a;
  const int64_t n = order_of(a);
  if (n < 0 || !is_batch(a, a, a.dtype, n, n) || !is_batch(args.vectors, a, a.dtype, n, n)) {
    return fail(OSC_ARGUMENT, 0, "a and vectors must be contiguous [..., n, n] of one dtype");
  }
  if (!is_real_dtype(a.dtype)) return fail(OSC_ARGUMENT, 0, "a must be float32 or float64");
  if (args.values.dtype != a.dtype || !is_contiguous(args.values) || size_of(args.values) != batch_of(a) * n) {
    return fail(OSC_ARGUMENT, 0, "values must be contiguous [..., n] of a's dtype");
  }
  return ok();
}

enum RootMethod : int64_t { kTridiagonal = 0, kEigh = 1, kNewton = 2, kPolynomial = 3, kWarm = 4 };
inline constexpr int64_t kRootReport = 5;  // numbers a matrix

inline Status check(const MatrixInverseRootArgs& args) {
  const Tensor& a = args.a;
  const int64_t n = order_of(a);
  if (n < 0 || !is_batch(a, a, a.dtype, n, n) || !is_batch(args.root, a, a.dtype, n, n)) {
    return fail(OSC_ARGUMENT, 0, "a and root must be contiguous [..., n, n] of one dtype");
  }
  if (!is_real_dtype(a.dtype)) return fail(OSC_ARGUMENT, 0, "a must be float32 or float64");
  if (args.method == kWarm && !is_batch(args.basis, a, a.dtype, n, n)) return fail(OSC_ARGUMENT, 0, "basis must be like a");
  if (size_of(args.vectors) > 0 && !is_batch(args.vectors, a, a.dtype, n, n)) return fail(OSC_ARGUMENT, 0, "vectors must be like a");
  if (args.report.dtype != OSC_FLOAT64 || !is_contiguous(args.report) || size_of(args.report) != batch_of(a) * kRootReport) {
    return fail(OSC_ARGUMENT, 0, "report must be float64 [batch, 5]");
  }
  if (args.p < 1 || args.p > 8 || args.method < kTridiagonal || args.method > kWarm) {
    return fail(OSC_ARGUMENT, 0, "p must be 1 to 8 and method 0 to 4");
  }
  return ok();
}

}  // namespace osc
