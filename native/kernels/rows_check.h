// What the kernels that work row by row check before they touch anything; on every device.
#pragma once
#include "../kernels.h"
#include "strided.h"

namespace osc {

// A contiguous real tensor of rank 2.
inline bool is_matrix(const Tensor& t) { return t.rank == 2 && is_real(t) && is_contiguous(t); }

// A contiguous vector of `length` elements.
inline bool is_vector(const Tensor& t, int32_t dtype, int64_t length) {
  return t.rank == 1 && t.dtype == dtype && t.shape[0] == length && is_contiguous(t);
}

inline Status check(const SoftmaxArgs& args) {
  const Tensor &x = args.x, &y = args.y;
  if (!is_matrix(x) || !is_matrix(y) || x.dtype != y.dtype || !same_shape(x, y)) {
    return fail(OSC_ARGUMENT, 0, "x and y must be matrices of one shape and real dtype");
  }
  const bool whole = args.causal_rows == 0 || (args.causal_rows > 0 && x.shape[0] % args.causal_rows == 0);
  return whole ? ok() : fail(OSC_ARGUMENT, 0, "causal_rows must divide the rows");
}

inline Status check(const SoftmaxBackwardArgs& args) {
  const Tensor &y = args.y, &g = args.g, &dx = args.dx;
  const bool fits = is_matrix(y) && is_matrix(g) && is_matrix(dx) && y.dtype == g.dtype && y.dtype == dx.dtype &&
                    same_shape(y, g) && same_shape(y, dx);
  return fits ? ok() : fail(OSC_ARGUMENT, 0, "y, g and dx must be matrices of one shape and real dtype");
}

inline Status check(const CrossEntropyArgs& args) {
  const Tensor& x = args.x;
  const bool fits = is_matrix(x) && is_vector(args.target, OSC_INT32, x.shape[0]) &&
                    is_vector(args.loss, x.dtype, x.shape[0]) && is_vector(args.log_sum, x.dtype, x.shape[0]);
  return fits ? ok() : fail(OSC_ARGUMENT, 0, "x must be a matrix, target int32, loss and log_sum vectors of its dtype");
}

inline Status check(const CrossEntropyBackwardArgs& args) {
  const Tensor &x = args.x, &dx = args.dx;
  const bool fits = is_matrix(x) && is_matrix(dx) && x.dtype == dx.dtype && same_shape(x, dx) &&
                    is_vector(args.target, OSC_INT32, x.shape[0]) && is_vector(args.log_sum, x.dtype, x.shape[0]) &&
                    is_vector(args.weight, x.dtype, x.shape[0]);
  if (fits) return ok();
  return fail(OSC_ARGUMENT, 0, "x and dx must be matrices, target int32, log_sum and weight vectors of their dtype");
}

// What ARGUMENT says of a target that is no class.
inline Status no_such_class(int64_t row, int32_t target, int64_t classes) {
  return fail(OSC_ARGUMENT, row, "target %d of row %lld is not a class from 0 to %lld", target, static_cast<long long>(row),
              static_cast<long long>(classes - 1));
}

inline Status check(const NormalizeArgs& args) {
  const Tensor &x = args.x, &y = args.y;
  const bool fits = x.rank == 3 && is_real(x) && is_contiguous(x) && is_contiguous(y) && x.dtype == y.dtype &&
                    same_shape(x, y) && is_vector(args.inverse_deviation, x.dtype, x.shape[1]) &&
                    is_vector(args.mean, x.dtype, x.shape[1]);
  if (fits) return ok();
  return fail(OSC_ARGUMENT, 0, "x and y must be [outer, rows, inner], inverse_deviation and mean [rows], of one real dtype");
}

inline Status check(const NormalizeBackwardArgs& args) {
  const Tensor &y = args.y, &g = args.g, &dx = args.dx;
  const bool fits = y.rank == 3 && is_real(y) && y.dtype == g.dtype && y.dtype == dx.dtype && same_shape(y, g) &&
                    same_shape(y, dx) && is_contiguous(y) && is_contiguous(g) && is_contiguous(dx) &&
                    is_vector(args.inverse_deviation, y.dtype, y.shape[1]);
  if (fits) return ok();
  return fail(OSC_ARGUMENT, 0, "y, g and dx must be [outer, rows, inner], inverse_deviation [rows], of one real dtype");
}

inline Status check(const ArgmaxArgs& args) {
  const bool fits = is_matrix(args.x) && args.x.shape[1] > 0 && is_vector(args.index, OSC_INT32, args.x.shape[0]);
  return fits ? ok() : fail(OSC_ARGUMENT, 0, "x must be a matrix with columns, index int32 [rows]");
}

// x [outer, n, inner], index [outer or 1, m], y [outer, m, inner], as in gather.
inline bool is_gather(const Tensor& x, const Tensor& index, const Tensor& y) {
  return x.rank == 3 && y.rank == 3 && index.rank == 2 && is_real(x) && x.dtype == y.dtype && index.dtype == OSC_INT32 &&
         is_contiguous(x) && is_contiguous(y) && is_contiguous(index) &&
         (index.shape[0] == x.shape[0] || index.shape[0] == 1) && y.shape[0] == x.shape[0] &&
         y.shape[1] == index.shape[1] && y.shape[2] == x.shape[2];
}

inline Status check(const GatherArgs& args) {
  if (is_gather(args.x, args.index, args.y)) return ok();
  return fail(OSC_ARGUMENT, 0, "x must be [outer, n, inner], index int32 [outer or 1, m], y [outer, m, inner]");
}

inline Status check(const ScatterAddArgs& args) {
  if (is_gather(args.y, args.index, args.g)) return ok();
  return fail(OSC_ARGUMENT, 0, "g must be [outer, m, inner], index int32 [outer or 1, m], y [outer, n, inner]");
}

// What ARGUMENT says of an index that is out of range.
inline Status index_out_of_range(int64_t position, int32_t index, int64_t n) {
  return fail(OSC_ARGUMENT, position, "index %d at position %lld is not from 0 to %lld", index,
              static_cast<long long>(position), static_cast<long long>(n - 1));
}

inline Status check(const RotaryArgs& args) {
  const Tensor &x = args.x, &cosine = args.cosine, &sine = args.sine, &y = args.y;
  const bool fits = x.rank == 3 && is_real(x) && x.dtype == y.dtype && same_shape(x, y) && is_contiguous(x) &&
                    is_contiguous(y) && is_matrix(cosine) && is_matrix(sine) && cosine.dtype == x.dtype &&
                    sine.dtype == x.dtype && same_shape(cosine, sine) && cosine.shape[0] == x.shape[1] &&
                    cosine.shape[1] * 2 <= x.shape[2];
  return fits ? ok() : fail(OSC_ARGUMENT, 0, "x and y must be [outer, places, width], cosine and sine [places, pairs]");
}

}  // namespace osc
