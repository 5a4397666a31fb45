#include "common/row_grids.cuh"
#include "kernels.h"
#include "kernels/checks.h"

namespace osc {

Status round_to_nearest(RoundToNearestArgs& args, const Context&) {
  OSC_TRY(check(args));
  const Tensor& weight = args.weight;
  const int64_t rows = weight.shape[0], columns = weight.shape[1];
  const Groups groups(args.group_size, columns);
  if (rows == 0) return ok();
  const GridSpec spec{args.bits, args.sym != 0, args.mse != 0, args.float16_scales != 0};
  return row_grids({data<const float>(weight), weight.strides[0], rows, columns, groups.size, groups.count, nullptr,
                    data<float>(args.scales), data<uint8_t>(args.zeros), data<uint8_t>(args.codes)},
                   spec);
}

}  // namespace osc
