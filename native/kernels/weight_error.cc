#include "../kernels.h"
#include "compress_checks.h"
#include "quadratic_forms.h"

namespace osc {
namespace {

// The sum of w C d^T over the rows.
template <class Real>
Status sum_cross(WeightErrorArgs& args, const Context& context) {
  const int64_t n = args.weight.shape[1], count = size_of(args.rows), tiles = (count + kFormRows - 1) / kFormRows;
  std::vector<double> sums(static_cast<size_t>(tiles));
  const bool done = parallel_for(tiles, context, [&](int64_t tile) {
    const int64_t m = std::min(kFormRows, count - tile * kFormRows);
    std::vector<Real> w(static_cast<size_t>(m * n)), product(w.size());
    const auto row = [&](const Tensor& t, int64_t r) {
      return data<float>(t) + data<int32_t>(args.rows)[tile * kFormRows + r] * t.strides[0];
    };
    for (int64_t r = 0; r < m; ++r) std::copy_n(row(args.weight, r), n, w.begin() + r * n);
    gemm(CblasNoTrans, CblasNoTrans, m, n, n, Real(1), w.data(), n, data<Real>(args.cross), args.cross.strides[0], Real(0),
         product.data(), n);
    for (int64_t r = 0; r < m; ++r) {
      const float *before = row(args.weight, r), *after = row(args.other, r);
      for (int64_t i = 0; i < n; ++i) {
        const double d = static_cast<double>(before[i]) - static_cast<double>(after[i]);
        sums[static_cast<size_t>(tile)] += static_cast<double>(product[static_cast<size_t>(r * n + i)]) * d;
      }
    }
  });
  if (!done) return aborted();
  for (const double sum : sums) args.cross_error += sum;
  return ok();
}

template <class Real>
Status errors(WeightErrorArgs& args, const Context& context) {
  const int64_t n = args.weight.shape[1];
  const auto fill = [&](int64_t row, Real* error, Real* reference) {
    const float* w = data<float>(args.weight) + row * args.weight.strides[0];
    const float* q = data<float>(args.other) + row * args.other.strides[0];
    for (int64_t i = 0; i < n; ++i) {
      error[i] = static_cast<Real>(w[i]) - static_cast<Real>(q[i]);
      reference[i] = static_cast<Real>(w[i]);
    }
  };
  double sums[2] = {0, 0};
  OSC_TRY(sum_forms<Real>(args.gram, args.rows, fill, sums, context));
  args.error = sums[0];
  args.reference = sums[1];
  return args.cross.data ? sum_cross<Real>(args, context) : ok();
}

}  // namespace

Status weight_error(WeightErrorArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor& weight = args.weight;
  OSC_TRY(check_forms(args.gram, args.rows, weight.shape[1], weight.shape[0]));
  args.error = args.reference = args.cross_error = 0;
  if (weight.shape[1] == 0 || size_of(args.rows) == 0) return ok();
  return args.gram.dtype == OSC_FLOAT64 ? errors<double>(args, context) : errors<float>(args, context);
}

}  // namespace osc
