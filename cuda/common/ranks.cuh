// Ranks of marked elements in the order of their positions.
#pragma once
#include "common/gpu.cuh"

namespace osc {
namespace {

constexpr int kRankThreads = 256;

// How many threads before this one have `marked`; *total: how many of the block. All threads of a block of kRankThreads call.
__device__ inline int block_rank(bool marked, int* total) {
  OSC_SHARED(int, of_warp, [kRankThreads / kWarp]);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp;
  const unsigned votes = __ballot_sync(0xFFFFFFFFU, marked);
  if (lane == 0) of_warp[thread / kWarp] = __popc(votes);
  __syncthreads();
  int before = __popc(votes & ((1U << lane) - 1U)), all = 0;
  for (int w = 0; w < kRankThreads / kWarp; ++w) {
    if (w < thread / kWarp) before += of_warp[w];
    all += of_warp[w];
  }
  __syncthreads();  // the next call writes of_warp again
  *total = all;
  return before;
}

// One block; a thread has a run of the counts.
OSC_GLOBAL sum_before_kernel(long long* counts, int64_t size) {
  OSC_SHARED(long long, of_thread, [kRankThreads]);
  const int64_t run = blocks_for(size, kRankThreads), from = threadIdx.x * run, to = min(size, from + run);
  long long sum = 0;
  for (int64_t t = from; t < to; ++t) sum += counts[t];
  of_thread[threadIdx.x] = sum;
  __syncthreads();
  long long before = 0;
  for (unsigned t = 0; t < threadIdx.x; ++t) before += of_thread[t];
  for (int64_t t = from; t < to; ++t) {
    const long long count = counts[t];
    counts[t] = before;
    before += count;
  }
  if (threadIdx.x == kRankThreads - 1) counts[size] = before;
}

// counts[i] becomes the sum of those before it, counts[size] the sum of all.
inline Status sum_before(long long* counts, int64_t size) {
  return launch(sum_before_kernel, dim3(1), dim3(kRankThreads), 0, counts, size);
}

}  // namespace
}  // namespace osc
