// This work is based on: E. Frantar et al., "GPTQ", 2022, algorithm 1, in the form of docs/numerics.md, as on the CPU
// (native/kernels/gptq_quantize_columns.cc). A block of columns is two launches: the product that brings it up to date, and
// the column recursion (column_sweep.cuh).
#include "common/layer_sweep.cuh"
#include "kernels.h"

namespace osc {

Status gptq_quantize_columns(GptqQuantizeColumnsArgs& args, const Context& context) {
  OSC_TRY(check(args));
  args.loss = 0;
  LayerRequest request;
  request.weight = args.weight;
  request.factor = args.factor;
  request.diagonal = args.diagonal;
  request.order = args.order;
  request.dead = args.dead;
  request.correction = args.correction;
  request.spec = GridSpec{args.bits, args.sym != 0, args.mse != 0, args.float16_scales != 0};
  request.group_size = args.group_size;
  request.dynamic_grids = !args.static_groups;
  request.block_size = args.block_size;
  LayerSweep layer(request);
  const int64_t columns = layer.columns();
  OSC_TRY(layer.allocate());
  OSC_TRY(layer.load(data<int32_t>(args.group_index)));
  if (layer.rows() == 0) return ok();
  float* scales = data<float>(args.scales);
  uint8_t* zeros = data<uint8_t>(args.zeros);
  if (!layer.dynamic()) OSC_TRY(layer.static_grids(scales, zeros));
  if (columns == 0) return ok();
  for (int64_t from = 0; from < columns; from += layer.block()) {
    if (cancelled(context)) return aborted();
    const int64_t to = std::min(from + layer.block(), columns);
    OSC_TRY(layer.gather(from, to));
    OSC_TRY(layer.settle(from, to, scales, zeros, 0));
    report(context, static_cast<double>(to), static_cast<double>(columns));
  }
  OSC_TRY(layer.store_codes(data<uint8_t>(args.codes)));
  double pruned;
  OSC_TRY(layer.losses(&args.loss, &pruned));
  return cancelled(context) ? aborted() : ok();
}

}  // namespace osc
