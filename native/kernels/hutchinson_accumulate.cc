#include "../core/memory.h"
#include "../kernels.h"
#include "averaging.h"
#include "flat_vectors.h"
#include "hutchinson_check.h"
#include "vector_parts.h"

namespace osc {

Status hutchinson_accumulate(HutchinsonAccumulateArgs& args, const Context& context) {
  OSC_TRY(check_hutchinson(args));
  const int64_t size = size_of(args.hv);
  Averaging averaging;
  OSC_TRY(averaging.plan(args.segments, size));
  const DiagonalKind kind = static_cast<DiagonalKind>(args.kind);
  const bool probed = kind == DiagonalKind::kSigned && size_of(args.probe) > 0;
  if (args.check_finite) {
    OSC_TRY(check_finite({{"hv", args.hv}}, context));
    if (probed) OSC_TRY(check_finite({{"probe", args.probe}}, context));
  }
  const RandomKey key{static_cast<uint64_t>(args.seed), static_cast<uint32_t>(args.stream),
                      static_cast<uint32_t>(args.step)};
  const float *hv = data<float>(args.hv), *probe = probed ? data<float>(args.probe) : nullptr;
  const auto estimate = [&](int64_t start, int64_t count, float* d) {
    flat_simd().diagonal(kind, key, args.index + start, hv + start, probe ? probe + start : nullptr, d, count);
  };
  const Buffer<double> sums(averaging.tiles());
  if (!sums) return fail(OSC_OUT_OF_MEMORY, sums.bytes(), "no memory for partial sums");
  OSC_TRY(averaging.measure(context, estimate));
  const bool moments = size_of(args.mean) > 0, deviations = size_of(args.m2) > 0, averages = size_of(args.ema) > 0;
  const RunningMoments running(args.count);
  const Ema ema(args.beta);
  parallel_for(averaging.tiles(), kNotCancelled, [&](int64_t tile) {
    sums[tile] = 0;
    averaging.each(tile, estimate, [&](const Averaging::Piece& piece, const float* d) {
      const int64_t i = piece.start, count = piece.end - i;
      sums[tile] += vector_simd<float>().sum(d, count);
      if (moments) {
        flat_simd().moments(running, d, data<float>(args.mean) + i, deviations ? data<float>(args.m2) + i : nullptr, count);
      }
      if (averages) flat_simd().ema(ema, d, data<float>(args.ema) + i, count);
    });
  });
  *data<double>(args.total) = tree_sum(sums.get(), averaging.tiles());
  return ok();
}

}  // namespace osc
