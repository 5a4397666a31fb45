#include "../kernels.h"
#include "quadratic_forms.h"

namespace osc {
namespace {

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
  return ok();
}

}  // namespace

Status weight_error(WeightErrorArgs& args, const Context& context) {
  const Tensor &weight = args.weight, &other = args.other;
  const auto matrix = [](const Tensor& t) {
    return t.rank == 2 && t.dtype == OSC_FLOAT32 && (t.shape[1] <= 1 || t.strides[1] == 1);
  };
  if (!matrix(weight) || !matrix(other) || weight.shape[0] != other.shape[0] || weight.shape[1] != other.shape[1]) {
    return fail(OSC_ARGUMENT, 0, "weight and other must be [out, in] float32 with contiguous rows");
  }
  OSC_TRY(check_forms(args.gram, args.rows, weight.shape[1], weight.shape[0]));
  args.error = args.reference = 0;
  if (weight.shape[1] == 0 || size_of(args.rows) == 0) return ok();
  return args.gram.dtype == OSC_FLOAT64 ? errors<double>(args, context) : errors<float>(args, context);
}

}  // namespace osc
