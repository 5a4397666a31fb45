// This work is based on: M. Sun, Z. Liu, A. Bair, J. Z. Kolter, "A Simple and Effective Pruning Approach for Large Language
// Models" (Wanda), 2023; without a scale it is magnitude pruning within rows.
#include <algorithm>
#include <vector>

#include "../core/parallel.h"
#include "../kernels.h"
#include "../simd/flat.h"

namespace osc {

Status prune_rows(PruneRowsArgs& args, const Context& context) {
  const Tensor& weight = args.weight;
  if (weight.rank != 2 || weight.dtype != OSC_FLOAT32 || (weight.shape[1] > 1 && weight.strides[1] != 1)) {
    return fail(OSC_ARGUMENT, 0, "weight must be [out, in] float32 with contiguous rows");
  }
  const int64_t rows = weight.shape[0], columns = weight.shape[1];
  if (args.pruned.dtype != OSC_FLOAT32 || !is_contiguous(args.pruned) || size_of(args.pruned) != rows * columns ||
      args.mask.dtype != OSC_BOOL || !is_contiguous(args.mask) || size_of(args.mask) != rows * columns) {
    return fail(OSC_ARGUMENT, 0, "pruned and mask must be contiguous, of the size of weight");
  }
  const float* scale = data<float>(args.column_scale);
  if (scale && (args.column_scale.dtype != OSC_FLOAT32 || !is_contiguous(args.column_scale) || size_of(args.column_scale) != columns)) {
    return fail(OSC_ARGUMENT, 0, "column_scale must be float32 [in]");
  }
  if (args.m < 0 || args.n < 0 || (args.m > 0 && args.n > args.m) || (args.m == 0 && args.n > columns)) {
    return fail(OSC_ARGUMENT, 0, "n or m out of range");
  }

  // Of n:m: how many columns of its group follow each column, and how many of its group are pruned.
  std::vector<int32_t> following, quota;
  if (args.m > 0) {
    following.resize(static_cast<size_t>(columns));
    quota.resize(static_cast<size_t>(columns));
    for (int64_t j = 0; j < columns; ++j) {
      const int64_t start = j / args.m * args.m, length = std::min(args.m, columns - start);
      following[static_cast<size_t>(j)] = static_cast<int32_t>(start + length - 1 - j);
      quota[static_cast<size_t>(j)] = static_cast<int32_t>(args.n * length / args.m);
    }
  }
  const int64_t per_tile = std::max<int64_t>(1, 65536 / std::max<int64_t>(columns, 1));
  const bool done = parallel_for((rows + per_tile - 1) / per_tile, context, [&](int64_t tile) {
    std::vector<uint32_t> keys(static_cast<size_t>(columns + 1)), work(keys.size());
    for (int64_t r = tile * per_tile; r < std::min(rows, (tile + 1) * per_tile); ++r) {
      flat_simd().prune_row(PruneRow{
          .count = columns,
          .weight = data<float>(weight) + r * weight.strides[0],
          .scale = scale,
          .zeros = args.n,
          .group = args.m,
          .following = following.data(),
          .quota = quota.data(),
          .keys = keys.data(),
          .work = work.data(),
          .pruned = data<float>(args.pruned) + r * columns,
          .mask = data<uint8_t>(args.mask) + r * columns,
      });
    }
  });
  return done ? ok() : aborted();
}

}  // namespace osc
