// The loop over sequences that the CTC kernels of the CPU share.
#pragma once
#include <atomic>

#include "../core/memory.h"
#include "../core/parallel.h"
#include "ctc.h"

namespace osc {

struct CtcAlone {
  template <class F>
  void each(int64_t n, F&& f) const {
    for (int64_t i = 0; i < n; ++i) f(i);
  }
};

// Fills y; gives f(n, log) the log-probability of each target. Values: CtcValues or CtcMovingValues of the whole batch.
template <class E, class Values, class F>
Status each_ctc_sequence(const CtcBatch& batch, const Values& values, E* y, const Context& context, F&& f) {
  using Log = typename Values::Log;
  const int64_t size = batch.most_steps * batch.classes;
  for (int64_t n = 0; n < batch.sequences; ++n) {
    const CtcProblem problem = batch.sequence(n).problem(batch.most_steps, batch.most_labels);
    if (problem != kCtcFine) return ctc_failure(problem, n);
  }
  std::atomic<int64_t> missing{0};
  const bool done = parallel_for(batch.sequences, context, [&](int64_t n) {
    const CtcTarget target = batch.sequence(n);
    const int64_t bytes = CtcWorkspace<Log>::bytes(target.steps, target.states());
    Buffer<double> memory(bytes / 8);
    if (!memory) {
      missing = bytes;
      return;
    }
    const auto work = CtcWorkspace<Log>::in(memory.get(), target.steps, target.states());
    f(n, ctc_sequence(target, values.from(n * size), batch.most_steps, y + n * size, work, CtcAlone()));
  });
  if (missing > 0) return fail(OSC_OUT_OF_MEMORY, missing, "no memory for the paths of a sequence");
  return done ? ok() : aborted();
}

}  // namespace osc
