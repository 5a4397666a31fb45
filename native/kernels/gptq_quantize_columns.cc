// This work is based on: E. Frantar et al., "GPTQ", 2022, algorithm 1; the recursion is in column_sweep.h.
#include <algorithm>
#include <atomic>
#include <vector>

#include "../core/parallel.h"
#include "checks.h"
#include "column_sweep.h"

namespace osc {

Status gptq_quantize_columns(GptqQuantizeColumnsArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const SweepRequest request{
      .weight = args.weight,
      .factor = args.factor,
      .diagonal = args.diagonal,
      .order = args.order,
      .dead = args.dead,
      .block_size = args.block_size,
      .bits = args.bits,
      .sym = args.sym,
      .group_size = args.group_size,
      .static_groups = args.static_groups,
      .mse = args.mse,
      .float16_scales = args.float16_scales,
      .correction = args.correction,
  };
  const SweepPlan plan(request);
  const int64_t columns = plan.columns, tiles = plan.tiles();
  std::copy(plan.column_group.begin(), plan.column_group.end(), data<int32_t>(args.group_index));
  std::vector<double> losses(static_cast<size_t>(tiles));
  std::atomic<int64_t> columns_done{0}, missing_bytes{0};
  const bool done = parallel_for(tiles, context, [&](int64_t index) {
    SweepTile tile(plan, index);
    if (!tile.allocated()) {
      missing_bytes.store(plan.tile_bytes());
      return;
    }
    tile.load();
    tile.static_grids();
    for (int64_t from = 0; from < columns; from += plan.block) {
      if (cancelled(context)) return;
      const int64_t to = std::min(from + plan.block, columns);
      tile.gather(from, to);
      tile.sweep(from, to, 0);
      columns_done.fetch_add(to - from, std::memory_order_relaxed);
      report(context, static_cast<double>(columns_done.load(std::memory_order_relaxed)), static_cast<double>(columns * tiles));
    }
    tile.store_codes(args.codes, args.scales, args.zeros);
    losses[static_cast<size_t>(index)] = tile.loss();
  });
  if (missing_bytes.load()) return fail(OSC_OUT_OF_MEMORY, missing_bytes.load(), "no memory for a tile of rows");
  if (!done || cancelled(context)) return aborted();
  args.loss = 0;
  for (const double loss : losses) args.loss += loss;
  return ok();
}

}  // namespace osc
