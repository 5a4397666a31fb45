// Counting the digits of keys (core/order_key.h), which finds the k-th smallest of many numbers in three passes.
#pragma once
#include "common/gpu.cuh"
#include "common/memory.h"
#include "core/order_key.h"

namespace osc {
namespace {

constexpr int kDigitThreads = 256;
constexpr int kDigitEach = 16;  // numbers of a thread, a block apart from each other

// counts[v] += how many keys have the digit v, of those whose higher digits are the prefix's. Integers: the order of the blocks
// does not matter. *first_nan, unless null: the position of the first NaN.
template <class Key>
OSC_GLOBAL count_digits(const float* scores, int64_t size, Key key_of, int digit, uint32_t prefix, unsigned long long* counts,
                        unsigned long long* first_nan) {
  OSC_SHARED(unsigned, found, [kDigitValues]);
  for (int v = static_cast<int>(threadIdx.x); v < kDigitValues; v += kDigitThreads) found[v] = 0;
  __syncthreads();
  const int shift = digit_shift(digit), before = digit_shift(digit - 1);
  const uint32_t values = digit == 2 ? 1023U : 2047U;
  const int64_t start = static_cast<int64_t>(blockIdx.x) * kDigitThreads * kDigitEach + threadIdx.x;
  for (int k = 0; k < kDigitEach; ++k) {
    const int64_t i = start + k * kDigitThreads;
    if (i >= size) break;
    const float score = scores[i];
    if (first_nan && score != score) atomicMin(first_nan, static_cast<unsigned long long>(i));
    const uint32_t key = key_of(score);
    if (digit == 0 || key >> before == prefix >> before) atomicAdd(&found[(key >> shift) & values], 1U);
  }
  __syncthreads();
  for (int v = static_cast<int>(threadIdx.x); v < kDigitValues; v += kDigitThreads) {
    if (found[v]) atomicAdd(&counts[v], static_cast<unsigned long long>(found[v]));
  }
}

struct OrderKey {
  __device__ uint32_t operator()(float x) const { return order_key(x); }
};
struct MagnitudeKey {
  __device__ uint32_t operator()(float x) const { return magnitude_key(x); }
};

template <class Key>
Status launch_count(const float* scores, int64_t size, Key key_of, int digit, uint32_t prefix, unsigned long long* counts,
                    unsigned long long* first_nan) {
  const unsigned blocks = static_cast<unsigned>(blocks_for(size, kDigitThreads * kDigitEach));
  return launch(count_digits<Key>, dim3(blocks), dim3(kDigitThreads), 0, scores, size, key_of, digit, prefix, counts, first_nan);
}

}  // namespace
}  // namespace osc
