#include "checks.h"
#include "quadratic_forms.h"

namespace osc {
namespace {

template <class Real>
Status errors(QuantizationErrorArgs& args, const Context& context) {
  const int64_t n = size_of(args.group_index), out = args.weight.shape[0];
  const float *weight = data<float>(args.weight), *scales = data<float>(args.scales);
  const uint8_t *codes = data<uint8_t>(args.codes), *zeros = data<uint8_t>(args.zeros);
  const int32_t* group_index = data<int32_t>(args.group_index);
  const auto fill = [&](int64_t row, Real* error, Real* reference) {
    for (int64_t i = 0; i < n; ++i) {
      const int64_t grid = group_index[i] * out + row;
      const float w = weight[row * args.weight.strides[0] + i];
      const float q = scales[grid] * static_cast<float>(codes[row * n + i] - zeros[grid]);
      error[i] = static_cast<Real>(w) - static_cast<Real>(q);
      reference[i] = static_cast<Real>(w);
    }
  };
  double sums[2] = {0, 0};
  OSC_TRY(sum_forms<Real>(args.gram, args.rows, fill, sums, context));
  args.error = sums[0];
  args.reference = sums[1];
  return ok();
}

// Every index that is used to find an element.
Status check_indices(const QuantizationErrorArgs& args, int64_t n) {
  const int64_t groups = args.scales.shape[0], out = args.weight.shape[0];
  for (int64_t i = 0; i < n; ++i) {
    const int32_t group = data<int32_t>(args.group_index)[i];
    if (group < 0 || group >= groups) return group_out_of_range(i, group, groups);
  }
  return check_forms(args.gram, args.rows, n, out);
}

}  // namespace

Status quantization_error(QuantizationErrorArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const int64_t n = size_of(args.group_index);
  OSC_TRY(check_indices(args, n));
  args.error = args.reference = 0;
  if (n == 0 || size_of(args.rows) == 0) return ok();
  return args.gram.dtype == OSC_FLOAT64 ? errors<double>(args, context) : errors<float>(args, context);
}

}  // namespace osc
