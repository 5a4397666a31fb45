#include <algorithm>

#include "../core/parallel.h"
#include "../simd/grid.h"
#include "../simd/simd.h"
#include "checks.h"

namespace osc {

Status round_to_nearest(RoundToNearestArgs& args, const Context& context) {
  const Tensor& weight = args.weight;
  OSC_TRY(check(args));
  const int64_t rows = weight.shape[0], columns = weight.shape[1], ldw = weight.strides[0];
  const Groups groups(args.group_size, columns);
  const GridSpec spec{args.bits, args.sym != 0, args.mse != 0, args.float16_scales != 0};
  float* scales = data<float>(args.scales);
  uint8_t *zeros = data<uint8_t>(args.zeros), *codes = data<uint8_t>(args.codes);
  const int64_t per_tile = std::max<int64_t>(1, 65536 / std::max<int64_t>(columns, 1));
  const bool done = parallel_for((rows + per_tile - 1) / per_tile, context, [&](int64_t tile) {
    for (int64_t r = tile * per_tile; r < std::min(rows, (tile + 1) * per_tile); ++r) {
      const float* row = data<float>(weight) + r * ldw;
      for (int64_t g = 0; g < groups.count; ++g) {
        const int64_t from = g * groups.size, count = std::min(groups.size, columns - from);
        const Grid grid = simd().row_grid(spec, row + from, count);
        simd().row_codes(spec, grid, row + from, count, codes + r * columns + from);
        scales[g * rows + r] = grid.scale;
        zeros[g * rows + r] = static_cast<uint8_t>(grid.zero);
      }
    }
  });
  return done ? ok() : aborted();
}

}  // namespace osc
