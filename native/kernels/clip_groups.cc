// This work is based on: J. Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration", 2023,
// the clipping search; ours: the error of a group is taken from the Gram matrix of its inputs, so over all tokens.
#include <algorithm>
#include <cmath>
#include <vector>

#include "../core/parallel.h"
#include "../kernels.h"
#include "../simd/grid.h"
#include "../simd/simd.h"
#include "compress_checks.h"

namespace osc {
namespace {

constexpr int kShrinks = 10;  // the ranges tried: 1, 0.95, ... 0.55 of the largest weight

template <class Real>
double group_error(const std::vector<float>& error, const Real* gram, int64_t stride) {
  const auto size = static_cast<int64_t>(error.size());
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) {
    const Real* row = gram + i * stride;
    Real product = 0;
    for (int64_t j = 0; j < size; ++j) product += row[j] * static_cast<Real>(error[static_cast<size_t>(j)]);
    sum += static_cast<double>(product) * static_cast<double>(error[static_cast<size_t>(i)]);
  }
  return sum;
}

template <class Real>
Status clip(ClipGroupsArgs& args, const Context& context) {
  const int64_t rows = args.weight.shape[0], columns = args.weight.shape[1], ldh = args.gram.strides[0];
  const Groups groups(args.group_size, columns);
  const GridSpec spec{args.bits, args.sym != 0, false, args.float16_scales != 0};
  const Real* gram = data<Real>(args.gram);
  const bool done = parallel_for(rows, context, [&](int64_t r) {
    std::vector<float> values, error;
    std::vector<uint8_t> codes;
    for (int64_t g = 0; g < groups.count; ++g) {
      const int64_t from = g * groups.size, count = std::min(groups.size, columns - from);
      const float* weight = data<float>(args.weight) + r * args.weight.strides[0] + from;
      float* clipped = data<float>(args.clipped) + r * columns + from;
      values.resize(static_cast<size_t>(count));
      error.resize(static_cast<size_t>(count));
      codes.resize(static_cast<size_t>(count));
      float widest = 0;
      for (int64_t j = 0; j < count; ++j) widest = std::max(widest, std::fabs(weight[j]));
      float limit = widest;
      double least = 0;
      for (int step = 0; step < kShrinks; ++step) {
        const float bound = widest * (1.0F - static_cast<float>(step) / 20.0F);
        for (int64_t j = 0; j < count; ++j) values[static_cast<size_t>(j)] = std::clamp(weight[j], -bound, bound);
        const Grid grid = simd().row_grid(spec, values.data(), count);
        simd().row_codes(spec, grid, values.data(), count, codes.data());
        for (int64_t j = 0; j < count; ++j) {
          error[static_cast<size_t>(j)] = weight[j] - grid.scale * (static_cast<float>(codes[static_cast<size_t>(j)]) - grid.zero);
        }
        const double lost = group_error(error, gram + from * ldh + from, ldh);
        if (step > 0 && !(lost < least)) continue;
        least = lost;
        limit = bound;
      }
      for (int64_t j = 0; j < count; ++j) clipped[j] = std::clamp(weight[j], -limit, limit);
    }
  });
  return done ? ok() : aborted();
}

}  // namespace

Status clip_groups(ClipGroupsArgs& args, const Context& context) {
  OSC_TRY(check(args));
  return args.gram.dtype == OSC_FLOAT64 ? clip<double>(args, context) : clip<float>(args, context);
}

}  // namespace osc
