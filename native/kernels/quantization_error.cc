#include "../kernels.h"
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

// Shapes, and every index that is used to find an element.
Status check(const QuantizationErrorArgs& args, int64_t n) {
  const Tensor &weight = args.weight, &scales = args.scales;
  const int64_t out = weight.rank == 2 ? weight.shape[0] : 0;
  const bool fits = weight.rank == 2 && weight.dtype == OSC_FLOAT32 && weight.shape[1] == n &&
                    (weight.strides[1] == 1 || n <= 1) && is_contiguous(args.codes) && args.codes.dtype == OSC_UINT8 &&
                    size_of(args.codes) == out * n && scales.rank == 2 && scales.dtype == OSC_FLOAT32 &&
                    scales.shape[1] == out && is_contiguous(scales) && args.zeros.dtype == OSC_UINT8 &&
                    is_contiguous(args.zeros) && size_of(args.zeros) == size_of(scales) &&
                    args.group_index.dtype == OSC_INT32 && is_contiguous(args.group_index);
  if (!fits) return fail(OSC_ARGUMENT, 0, "tensors do not fit the contract of quantization_error");
  for (int64_t i = 0; i < n; ++i) {
    const int32_t group = data<int32_t>(args.group_index)[i];
    if (group < 0 || group >= scales.shape[0]) return fail(OSC_ARGUMENT, i, "group_index[%lld] is out of range", static_cast<long long>(i));
  }
  return check_forms(args.gram, args.rows, n, out);
}

}  // namespace

Status quantization_error(QuantizationErrorArgs& args, const Context& context) {
  const int64_t n = size_of(args.group_index);
  OSC_TRY(check(args, n));
  args.error = args.reference = 0;
  if (n == 0 || size_of(args.rows) == 0) return ok();
  return args.gram.dtype == OSC_FLOAT64 ? errors<double>(args, context) : errors<float>(args, context);
}

}  // namespace osc
