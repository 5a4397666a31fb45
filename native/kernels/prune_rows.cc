// This work is based on: M. Sun, Z. Liu, A. Bair, J. Z. Kolter, "A Simple and Effective Pruning Approach for Large Language
// Models" (Wanda), 2023; without a scale it is magnitude pruning within rows.
#include <algorithm>
#include <vector>

#include "../core/parallel.h"
#include "../kernels.h"
#include "compress_checks.h"
#include "../simd/flat.h"

namespace osc {

Status prune_rows(PruneRowsArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor& weight = args.weight;
  const int64_t rows = weight.shape[0], columns = weight.shape[1];
  const float* scale = data<float>(args.column_scale);

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
