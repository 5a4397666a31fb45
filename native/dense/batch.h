// Batches of matrices: any leading dimensions, contiguous.
#pragma once
#include <cstdint>
#include <mutex>
#include <new>

#include "../core/memory.h"
#include "../core/parallel.h"
#include "../core/status.h"
#include "../core/tensor.h"

namespace osc {

// Number of matrices in t, whose last two dimensions are the matrix.
inline int64_t batch_of(const Tensor& t) {
  int64_t count = 1;
  for (int i = 0; i < t.rank - 2; ++i) count *= t.shape[i];
  return count;
}

// Whether t is a contiguous batch of `rows` x `columns` matrices of this dtype with the leading dimensions of `like`.
inline bool is_batch(const Tensor& t, const Tensor& like, int32_t dtype, int64_t rows, int64_t columns) {
  if (t.rank != like.rank || t.rank < 2 || t.dtype != dtype || !is_contiguous(t)) return false;
  for (int i = 0; i < t.rank - 2; ++i) {
    if (t.shape[i] != like.shape[i]) return false;
  }
  return t.shape[t.rank - 2] == rows && t.shape[t.rank - 1] == columns;
}

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
