// What the CTC kernels share: a block a sequence, over whose states its threads are spread.
#pragma once
#include <vector>

#include "common/gpu.cuh"
#include "common/memory.h"
#include "kernels/ctc.h"

namespace osc {

constexpr int kCtcThreads = 128;

struct CtcBlock {
  template <class F>
  __device__ void each(int64_t n, F&& f) const {
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) f(i);
    __syncthreads();
  }
};

namespace {

template <class E, class Values>
OSC_GLOBAL ctc_sequences(CtcBatch batch, Values values, E* y, E* loss, char* memory, int64_t bytes, int32_t* problems) {
  for (int64_t n = blockIdx.x; n < batch.sequences; n += gridDim.x) {
    const CtcTarget target = batch.sequence(n);
    const CtcProblem problem = target.problem(batch.most_steps, batch.most_labels);
    if (threadIdx.x == 0) problems[n] = problem;
    if (problem != kCtcFine) continue;
    const auto work = CtcWorkspace<typename Values::Log>::in(memory + blockIdx.x * bytes, target.steps, target.states());
    const int64_t size = batch.most_steps * batch.classes;
    const auto all = ctc_sequence(target, values.from(n * size), batch.most_steps, y + n * size, work, CtcBlock());
    if (threadIdx.x == 0 && loss != nullptr) loss[n] = static_cast<E>(-all.value);
    __syncthreads();  // before the workspace is used again
  }
}

}  // namespace

// Fills y, and loss where there is one.
template <class E, class Values>
Status each_ctc_sequence(const CtcBatch& batch, const Values& values, E* y, E* loss) {
  if (batch.sequences == 0) return ok();
  const unsigned blocks = grid_for(batch.sequences, 1, 512);
  const int64_t bytes = CtcWorkspace<typename Values::Log>::bytes(batch.most_steps, batch.most_states());
  DeviceBuffer<char> memory(blocks * bytes);
  if (!memory) return memory.status();
  DeviceBuffer<int32_t> problems(batch.sequences);
  if (!problems) return problems.status();
  OSC_TRY(launch(ctc_sequences<E, Values>, blocks, kCtcThreads, 0, batch, values, y, loss, memory.get(), bytes, problems.get()));
  std::vector<int32_t> found(batch.sequences);
  OSC_TRY(copy_to_host(found.data(), problems.get(), batch.sequences * static_cast<int64_t>(sizeof(int32_t))));
  for (int64_t n = 0; n < batch.sequences; ++n) {
    if (found[n] != kCtcFine) return ctc_failure(static_cast<CtcProblem>(found[n]), n);
  }
  return ok();
}

}  // namespace osc
