#include <algorithm>

#include "../core/memory.h"
#include "../core/parallel.h"
#include "checks.h"

namespace osc {

Status dequantize(DequantizeArgs& args, const Context& context) {
  constexpr int64_t kRowsPerTile = 16;
  const Tensor &codes = args.codes, &scales = args.scales, &zeros = args.zeros, &index = args.group_index;
  const Tensor& weight = args.weight;
  OSC_TRY(check(args));
  const int64_t rows = codes.shape[0], columns = codes.shape[1], groups = scales.shape[0];
  const int32_t* group_of = data<const int32_t>(index);
  for (int64_t j = 0; j < columns; ++j) {
    if (group_of[j] < 0 || group_of[j] >= groups) return group_out_of_range(j, group_of[j], groups);
  }
  // Runs of columns of one group: without act-order the whole group, and the inner loop is a plain vector loop.
  Buffer<int64_t> run_end(columns);
  if (!run_end) return fail(OSC_OUT_OF_MEMORY, columns * 8, "no memory for the runs of groups");
  int64_t runs = 0;
  for (int64_t j = 0; j < columns; ++j) {
    if (j + 1 == columns || group_of[j + 1] != group_of[j]) run_end[runs++] = j + 1;
  }
  const int64_t stride = codes.strides[1];
  const bool done = parallel_for((rows + kRowsPerTile - 1) / kRowsPerTile, context, [&](int64_t tile) {
    const int64_t end = std::min(rows, (tile + 1) * kRowsPerTile);
    for (int64_t row = tile * kRowsPerTile; row < end; ++row) {
      const uint8_t* code = data<const uint8_t>(codes) + row * codes.strides[0];
      float* target = data<float>(weight) + row * columns;
      int64_t j = 0;
      for (int64_t run = 0; run < runs; ++run) {
        const int64_t group = group_of[j], stop = run_end[run];
        const float scale = data<const float>(scales)[group * rows + row];
        const int32_t zero = data<const uint8_t>(zeros)[group * rows + row];
        if (stride == 1) {
          for (; j < stop; ++j) target[j] = scale * static_cast<float>(code[j] - zero);
        } else {
          for (; j < stop; ++j) target[j] = scale * static_cast<float>(code[j * stride] - zero);
        }
      }
    }
  });
  return done ? ok() : aborted();
}

}  // namespace osc
