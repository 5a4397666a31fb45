#include "common/index_check.cuh"
#include "common/strided.cuh"
#include "kernels.h"
#include "kernels/checks.h"

namespace osc {
namespace {

// A thread has one column of several rows: group and index are read once, and all reads and writes run along the row.
constexpr int kColumns = 256, kRows = 8;

OSC_GLOBAL dequantize_rows(const uint8_t* codes, const float* scales, const uint8_t* zeros, const int32_t* group_index,
                           int64_t rows, int64_t columns, float* weight) {
  const int64_t column = global_thread();
  if (column >= columns) return;
  const int64_t grids = static_cast<int64_t>(group_index[column]) * rows;
  for (int64_t start = static_cast<int64_t>(blockIdx.y) * kRows; start < rows; start += static_cast<int64_t>(gridDim.y) * kRows) {
    for (int64_t row = start; row < min(rows, start + kRows); ++row) {
      const int32_t steps = static_cast<int32_t>(codes[row * columns + column]) - zeros[grids + row];
      weight[row * columns + column] = scales[grids + row] * static_cast<float>(steps);
    }
  }
}

}  // namespace

Status dequantize(DequantizeArgs& args, const Context&) {
  OSC_TRY(check(args));
  const int64_t rows = args.codes.shape[0], columns = args.codes.shape[1], groups = args.scales.shape[0];
  const int32_t* group_index = data<const int32_t>(args.group_index);
  int64_t bad;
  int32_t group;
  OSC_TRY(first_out_of_range(group_index, columns, groups, &bad, &group));
  if (bad >= 0) return group_out_of_range(bad, group, groups);
  if (rows == 0 || columns == 0) return ok();
  DeviceBuffer<uint8_t> buffer;
  const uint8_t* codes;
  OSC_TRY(contiguous_rows(args.codes, buffer, &codes));
  const int64_t tiles = blocks_for(rows, kRows);
  const dim3 grid(static_cast<unsigned>(blocks_for(columns, kColumns)), static_cast<unsigned>(tiles < 65535 ? tiles : 65535));
  return launch(dequantize_rows, grid, dim3(kColumns), 0, codes, data<const float>(args.scales),
                data<const uint8_t>(args.zeros), group_index, rows, columns, data<float>(args.weight));
}

}  // namespace osc
