#include "common/index_check.cuh"
#include "common/quadratic_forms.cuh"
#include "kernels.h"
#include "kernels/checks.h"

namespace osc {
namespace {

struct Layer {
  const float* weight;  // row stride `stride`
  int64_t stride, out, columns;
  const uint8_t* codes;
  const float* scales;
  const uint8_t* zeros;
  const int32_t* group_index;
};

// d[r] = w - q of row rows[r], and d[count + r] = w. A thread a column.
template <class Real>
OSC_GLOBAL load_rows(Layer layer, const int32_t* rows, int64_t count, Real* d) {
  const int64_t column = global_thread();
  if (column >= layer.columns) return;
  const int64_t grids = static_cast<int64_t>(layer.group_index[column]) * layer.out;
  for (int64_t r = blockIdx.y; r < count; r += gridDim.y) {
    const int64_t row = rows[r], grid = grids + row;
    const float w = layer.weight[row * layer.stride + column];
    const int32_t steps = static_cast<int32_t>(layer.codes[row * layer.columns + column]) - layer.zeros[grid];
    const float q = layer.scales[grid] * static_cast<float>(steps);
    d[r * layer.columns + column] = static_cast<Real>(w) - static_cast<Real>(q);
    d[(count + r) * layer.columns + column] = static_cast<Real>(w);
  }
}

template <class Real>
Status errors(QuantizationErrorArgs& args, const Layer& layer, const Context& context) {
  const auto load = [&](int64_t first, int64_t count, Real* d) {
    const dim3 grid(static_cast<unsigned>(blocks_for(layer.columns, kFormThreads)), static_cast<unsigned>(count));
    return launch(load_rows<Real>, grid, dim3(kFormThreads), 0, layer, data<const int32_t>(args.rows) + first, count, d);
  };
  double sums[2];
  OSC_TRY(sum_forms<Real>(args.gram, args.rows, load, sums, context));
  args.error = sums[0];
  args.reference = sums[1];
  return ok();
}

}  // namespace

Status quantization_error(QuantizationErrorArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Layer layer{data<const float>(args.weight), args.weight.strides[0], args.weight.shape[0], args.weight.shape[1],
                    data<const uint8_t>(args.codes), data<const float>(args.scales), data<const uint8_t>(args.zeros),
                    data<const int32_t>(args.group_index)};
  int64_t bad;
  int32_t group;
  OSC_TRY(first_out_of_range(layer.group_index, layer.columns, args.scales.shape[0], &bad, &group));
  if (bad >= 0) return group_out_of_range(bad, group, args.scales.shape[0]);
  OSC_TRY(check_rows(args.rows, layer.out));
  args.error = args.reference = 0;
  if (layer.columns == 0 || size_of(args.rows) == 0) return ok();
  return args.gram.dtype == OSC_FLOAT64 ? errors<double>(args, layer, context) : errors<float>(args, layer, context);
}

}  // namespace osc
