// Workspaces, and the loop over a batch of matrices.
#pragma once
#include <cstdint>
#include <mutex>
#include <new>

#include "../core/memory.h"
#include "../core/parallel.h"
#include "../core/status.h"

namespace osc {

// A workspace of `count` numbers; a kernel that gets none fails with OUT_OF_MEMORY (backend/kernel_table.cc).
template <class T>
Buffer<T> workspace(int64_t count) {
  Buffer<T> buffer(count);
  if (!buffer) throw std::bad_alloc();
  return buffer;
}

// f(i) -> Status for each i in [0, batch). A single matrix runs on the calling thread, so that parallel_for inside f spreads
// over the pool; several run side by side, each on one thread. Every matrix is tried; the failure of the first one counts.
template <class F>
Status for_each_matrix(int64_t batch, const Context& context, F&& f) {
  if (batch == 1) return f(int64_t{0});
  std::mutex mutex;
  int64_t failed = batch;
  Status failure = ok();
  const bool done = parallel_for(batch, context, [&](int64_t i) {
    const Status status = f(i);
    if (status.code == OSC_OK) return;
    const std::lock_guard<std::mutex> lock(mutex);
    if (i < failed) {
      failed = i;
      failure = status;
    }
  });
  if (!done) return aborted();
  return failure;
}

}  // namespace osc
