#include "common/flat.cuh"
#include "common/reduce.cuh"
#include "core/optimizer_step.h"
#include "kernels.h"

namespace osc {
namespace {

OSC_GLOBAL step_all(SophiaStep step, const float* grad, const float* h, float* theta, float* m, int64_t size,
                    const unsigned long long* bad, unsigned long long* clipped) {
  if (tripped(bad)) return;
  const int64_t start = static_cast<int64_t>(blockIdx.x) * kFlatThreads * kFlatEach + threadIdx.x;
  int here = 0;
  for (int k = 0; k < kFlatEach; ++k) {
    const int64_t i = start + k * kFlatThreads;
    if (i < size) here += step(theta[i], grad[i], m[i], h[i]) ? 1 : 0;
  }
  here = block_sum(here);
  // A sum of integers: the order of the atomics does not matter.
  if (threadIdx.x == 0 && here) atomicAdd(clipped, static_cast<unsigned long long>(here));
}

OSC_GLOBAL as_double(const unsigned long long* count, double* value) { *value = static_cast<double>(*count); }

}  // namespace

Status sophia_step(SophiaStepArgs& args, const Context&) {
  OSC_TRY(check_flat({{"theta", args.theta}, {"grad", args.grad}, {"m", args.m}, {"h", args.h}}));
  if (size_of(args.clipped) != 1 || args.clipped.dtype != OSC_FLOAT64) {
    return fail(OSC_ARGUMENT, 0, "clipped must be one float64");
  }
  FiniteGuard guard;
  if (args.check_finite) OSC_TRY(guard.look({{"grad", args.grad}}));
  const SophiaStep step(args.lr, args.beta1, args.weight_decay, args.scale, args.hutchinson != 0);
  const int64_t size = size_of(args.theta);
  DeviceBuffer<unsigned long long> clipped(1);
  if (!clipped) return clipped.status();
  OSC_TRY(set_zero(clipped.get(), clipped.bytes()));
  if (size > 0) {
    const unsigned blocks = static_cast<unsigned>(blocks_for(size, kFlatThreads * kFlatEach));
    OSC_TRY(launch(step_all, blocks, kFlatThreads, 0, step, data<float>(args.grad), data<float>(args.h),
                   data<float>(args.theta), data<float>(args.m), size, guard.flags(), clipped.get()));
  }
  OSC_TRY(launch(as_double, 1, 1, 0, clipped.get(), data<double>(args.clipped)));
  return guard.verdict();
}

}  // namespace osc
