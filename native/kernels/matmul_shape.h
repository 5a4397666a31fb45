// What matmul checks, and its operands as BLAS takes them; on every device.
#pragma once
#include <algorithm>
#include <climits>

#include "../kernels.h"

namespace osc {

// The last two dimensions of a tensor.
struct BlasMatrix {
  bool transposed = false;
  int64_t ld = 1;
  bool valid = false;
};

inline BlasMatrix blas_matrix(const Tensor& t) {
  const int64_t rows = t.shape[t.rank - 2], columns = t.shape[t.rank - 1];
  const int64_t down = t.strides[t.rank - 2], along = t.strides[t.rank - 1];
  const auto fits = [](int64_t step, int64_t length, int64_t count) {
    return count <= 1 || (step >= length && step <= INT_MAX);
  };
  if ((along == 1 || columns <= 1) && fits(down, columns, rows)) {
    return {false, rows <= 1 ? std::max<int64_t>(columns, 1) : down, true};
  }
  if ((down == 1 || rows <= 1) && fits(along, rows, columns)) {
    return {true, columns <= 1 ? std::max<int64_t>(rows, 1) : along, true};
  }
  return {};
}

inline Status check(const MatmulArgs& args) {
  const Tensor &a = args.a, &b = args.b, &c = args.c;
  const int rank = c.rank;
  if (rank < 2 || a.rank != rank || b.rank != rank) return fail(OSC_ARGUMENT, 0, "a, b and c must have one rank, 2 or more");
  if (a.dtype != c.dtype || b.dtype != c.dtype) return fail(OSC_ARGUMENT, 0, "a, b and c must have one dtype");
  for (int i = 0; i < rank - 2; ++i) {
    if (a.shape[i] != c.shape[i] || b.shape[i] != c.shape[i]) return fail(OSC_ARGUMENT, 0, "a, b and c must have one batch shape");
  }
  if (a.shape[rank - 2] != c.shape[rank - 2] || b.shape[rank - 1] != c.shape[rank - 1] ||
      a.shape[rank - 1] != b.shape[rank - 2]) {
    return fail(OSC_ARGUMENT, 0, "the shapes of a, b and c do not fit");
  }
  const BlasMatrix result = blas_matrix(c);
  if (!blas_matrix(a).valid || !blas_matrix(b).valid || !result.valid || result.transposed) {
    return fail(OSC_ARGUMENT, 0, "a and b need rows or columns that are contiguous, c needs rows that are");
  }
  const bool real = c.dtype == OSC_FLOAT32 || c.dtype == OSC_FLOAT64;
  return real ? ok() : fail(OSC_ARGUMENT, 0, "a, b and c must be float32 or float64");
}

// The products of a call that passed the checks: m x k times k x n for each index of the first batch_rank dimensions.
struct MatmulShape {
  BlasMatrix a, b, c;
  int64_t m, n, k;
  int batch_rank;

  explicit MatmulShape(const MatmulArgs& args)
      : a(blas_matrix(args.a)),
        b(blas_matrix(args.b)),
        c(blas_matrix(args.c)),
        m(args.c.shape[args.c.rank - 2]),
        n(args.c.shape[args.c.rank - 1]),
        k(args.a.shape[args.a.rank - 1]),
        batch_rank(args.c.rank - 2) {
    fold_rows(args);
  }

 private:
  // A matrix B that is repeated along the innermost batch dimension multiplies the rows of all matrices A at once.
  void fold_rows(const MatmulArgs& args) {
    while (batch_rank > 0) {
      const int last = batch_rank - 1;
      const int64_t count = args.c.shape[last];
      const auto stacked = [&](const Tensor& t, int64_t ld) { return count == 1 || t.strides[last] == m * ld; };
      const bool repeats = count == 1 || args.b.strides[last] == 0;
      if (!repeats || a.transposed || !stacked(args.a, a.ld) || !stacked(args.c, c.ld)) return;
      if (m == 0 || count > INT_MAX / m) return;
      m *= count;
      --batch_rank;
    }
  }
};

}  // namespace osc
