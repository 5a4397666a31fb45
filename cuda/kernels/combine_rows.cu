#include "common/gpu.cuh"
#include "kernels/vector_check.h"

namespace osc {
namespace {

constexpr int kThreads = 256;
constexpr int kRows = 8;  // of y in the registers of a thread: x is read once for them

template <class T>
struct Combination {
  const double* coefficients;
  const T* x;
  T* y;
  int64_t rows, terms, size, x_stride, y_stride;
  double alpha, beta;
};

// A thread a column, a block of the grid's second dimension eight rows of y.
template <class T>
OSC_GLOBAL combine(Combination<T> c) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= c.size) return;
  for (int64_t first = static_cast<int64_t>(blockIdx.y) * kRows; first < c.rows; first += static_cast<int64_t>(gridDim.y) * kRows) {
    double sums[kRows];
    for (int r = 0; r < kRows; ++r) {
      const bool read = c.beta != 0 && first + r < c.rows;
      sums[r] = read ? c.beta * static_cast<double>(c.y[(first + r) * c.y_stride + column]) : 0;
    }
    for (int64_t j = 0; j < c.terms; ++j) {
      const double value = static_cast<double>(c.x[j * c.x_stride + column]);
      for (int r = 0; r < kRows; ++r) {
        if (first + r < c.rows) sums[r] = fma(c.alpha * c.coefficients[(first + r) * c.terms + j], value, sums[r]);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      if (first + r < c.rows) c.y[(first + r) * c.y_stride + column] = static_cast<T>(sums[r]);
    }
  }
}

}  // namespace

Status combine_rows(CombineRowsArgs& args, const Context&) {
  OSC_TRY(check_combine_rows(args));
  const Tensor &x = args.x, &y = args.y;
  if (size_of(y) == 0) return ok();
  return with_real(x.dtype, [&](auto type) {
    using T = decltype(type);
    const Combination<T> all{data<double>(args.coefficients), data<T>(x), data<T>(y), y.shape[0], x.shape[0], x.shape[1],
                             x.strides[0], y.strides[0], args.alpha, args.beta};
    const dim3 grid(static_cast<unsigned>(blocks_for(all.size, kThreads)), grid_for(all.rows, kRows, 65535));
    return launch(combine<T>, grid, dim3(kThreads), 0, all);
  });
}

}  // namespace osc
