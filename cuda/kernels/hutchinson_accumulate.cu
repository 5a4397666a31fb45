#include "common/diagonal.cuh"
#include "kernels/hutchinson_check.h"

namespace osc {
namespace {

struct Statistics {
  RunningMoments running;
  Ema rule;
  float *mean, *m2, *ema;  // null when not wanted
  __device__ void add(int64_t i, float d) const {
    if (m2) running(d, mean[i], m2[i]);
    else if (mean) running(d, mean[i]);
    if (ema) ema[i] = rule(ema[i], d);
  }
};

// A warp a row of 128 elements, which share what the estimate has for it.
template <class E>
OSC_GLOBAL accumulate(E estimate, Statistics statistics, int64_t size, int64_t rows, const unsigned long long* bad,
                      double* partials) {
  if (tripped(bad)) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  double sum = 0;
  for (int64_t r = global_thread() / kWarp; r < rows; r += global_threads() / kWarp) {
    const typename E::Row row = estimate.row(r);
    for (int position = lane; position < kSignsPerBlock; position += kWarp) {
      const int64_t i = r * kSignsPerBlock + position - estimate.first;
      if (i < 0 || i >= size) continue;
      const float d = estimate.at(row, i, position);
      statistics.add(i, d);
      sum += d;
    }
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

}  // namespace

Status hutchinson_accumulate(HutchinsonAccumulateArgs& args, const Context&) {
  OSC_TRY(check_hutchinson(args));
  const int64_t size = size_of(args.hv);
  DeviceAveraging averaging;
  OSC_TRY(averaging.plan(args.segments, size));
  const bool probed = args.kind == 0 && size_of(args.probe) > 0;
  FiniteGuard guard;
  if (args.check_finite && probed) OSC_TRY(guard.look({{"hv", args.hv}, {"probe", args.probe}}));
  if (args.check_finite && !probed) OSC_TRY(guard.look({{"hv", args.hv}}));
  const auto wanted = [](const Tensor& t) { return size_of(t) > 0 ? data<float>(t) : nullptr; };
  const Statistics statistics{RunningMoments(args.count), Ema(args.beta), wanted(args.mean), wanted(args.m2),
                              wanted(args.ema)};
  const auto pass = [&](const auto& estimate) {
    using Estimate = std::remove_const_t<std::remove_reference_t<decltype(estimate)>>;
    const int64_t rows = blocks_for(estimate.first + size, kSignsPerBlock);
    const unsigned blocks = grid_for(rows, kFlatThreads / kWarp);
    DeviceBuffer<double> partials(blocks);
    if (!partials) return partials.status();
    OSC_TRY(launch(accumulate<Estimate>, blocks, kFlatThreads, 0, estimate, statistics, size, rows, guard.flags(),
                   partials.get()));
    return finish_partials(partials.get(), blocks, 0.0, Sum(), data<double>(args.total));
  };
  const float *h = data<float>(args.hv), *z = data<float>(args.probe);
  if (args.kind == 1) {
    OSC_TRY(averaging.with(DiagonalEstimate<DiagonalKind::kAbsolute>{h, nullptr, 0}, pass));
  } else if (args.kind == 2) {
    OSC_TRY(averaging.with(DiagonalEstimate<DiagonalKind::kSquare>{h, nullptr, 0}, pass));
  } else if (probed) {
    OSC_TRY(averaging.with(DiagonalEstimate<DiagonalKind::kSigned>{h, z, 0}, pass));
  } else {
    const RandomKey key{static_cast<uint64_t>(args.seed), static_cast<uint32_t>(args.stream),
                        static_cast<uint32_t>(args.step)};
    OSC_TRY(averaging.with(DrawnEstimate{h, key, args.index, args.index % kSignsPerBlock}, pass));
  }
  return guard.verdict();
}

}  // namespace osc
