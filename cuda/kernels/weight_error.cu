#include "common/quadratic_forms.cuh"
#include "kernels.h"
#include "kernels/compress_checks.h"

namespace osc {
namespace {

struct Weights {
  const float *weight, *other;
  int64_t ldw, ldo, columns;
};

// d[r] = w - other of row rows[r], and w to the `count` rows after it. A thread a column.
template <class Real>
OSC_GLOBAL load_gaps(Weights weights, const int32_t* rows, int64_t count, Real* d) {
  const int64_t column = global_thread();
  if (column >= weights.columns) return;
  for (int64_t r = blockIdx.y; r < count; r += gridDim.y) {
    const Real w = static_cast<Real>(weights.weight[rows[r] * weights.ldw + column]);
    d[r * weights.columns + column] = w - static_cast<Real>(weights.other[rows[r] * weights.ldo + column]);
    d[(count + r) * weights.columns + column] = w;
  }
}

// sums[r] = (w C) . (w - other) of row rows[r], product holding w C. A block a row.
template <class Real>
OSC_GLOBAL dot_gaps(Weights weights, const int32_t* rows, const Real* product, double* sums) {
  const int64_t r = blockIdx.x;
  const float *before = weights.weight + rows[r] * weights.ldw, *after = weights.other + rows[r] * weights.ldo;
  double sum = 0;
  for (int64_t j = threadIdx.x; j < weights.columns; j += kFormThreads) {
    const double d = static_cast<double>(before[j]) - static_cast<double>(after[j]);
    sum += static_cast<double>(product[r * weights.columns + j]) * d;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[r] = sum;
}

template <class Real>
Status launch_load(const Weights& weights, const int32_t* rows, int64_t count, Real* d) {
  const dim3 grid(static_cast<unsigned>(blocks_for(weights.columns, kFormThreads)), static_cast<unsigned>(count));
  return launch(load_gaps<Real>, grid, dim3(kFormThreads), 0, weights, rows, count, d);
}

// The sum of w C d^T over the rows.
template <class Real>
Status sum_cross(WeightErrorArgs& args, const Weights& weights, const Context& context) {
  const int64_t n = weights.columns, count = size_of(args.rows), tile = std::min(kFormRows, count);
  const int32_t* rows = data<const int32_t>(args.rows);
  DeviceBuffer<Real> d(2 * tile * n), product(tile * n);
  DeviceBuffer<double> sums(count);
  if (!d) return d.status();
  if (!product) return product.status();
  if (!sums) return sums.status();
  for (int64_t first = 0; first < count; first += tile) {
    if (cancelled(context)) return aborted();
    const int64_t m = std::min(tile, count - first);
    OSC_TRY(launch_load(weights, rows + first, m, d.get()));
    OSC_TRY(gemm(Transpose::kNo, Transpose::kNo, m, n, n, 1, d.get() + m * n, n, data<const Real>(args.cross),
                 args.cross.strides[0], 0, product.get(), n));
    OSC_TRY(launch(dot_gaps<Real>, dim3(static_cast<unsigned>(m)), dim3(kFormThreads), 0, weights, rows + first, product.get(),
                   sums.get() + first));
  }
  std::vector<double> host(static_cast<size_t>(count));
  OSC_TRY(copy_to_host(host.data(), sums.get(), sums.bytes()));
  for (const double sum : host) args.cross_error += sum;
  return ok();
}

template <class Real>
Status errors(WeightErrorArgs& args, const Weights& weights, const Context& context) {
  const auto load = [&](int64_t first, int64_t count, Real* d) {
    return launch_load(weights, data<const int32_t>(args.rows) + first, count, d);
  };
  double sums[2];
  OSC_TRY(sum_forms<Real>(args.gram, args.rows, load, sums, context));
  args.error = sums[0];
  args.reference = sums[1];
  return args.cross.data ? sum_cross<Real>(args, weights, context) : ok();
}

}  // namespace

Status weight_error(WeightErrorArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Weights weights{data<const float>(args.weight), data<const float>(args.other), args.weight.strides[0],
                        args.other.strides[0], args.weight.shape[1]};
  OSC_TRY(check_rows(args.rows, args.weight.shape[0]));
  args.error = args.reference = args.cross_error = 0;
  if (weights.columns == 0 || size_of(args.rows) == 0) return ok();
  return args.gram.dtype == OSC_FLOAT64 ? errors<double>(args, weights, context) : errors<float>(args, weights, context);
}

}  // namespace osc
