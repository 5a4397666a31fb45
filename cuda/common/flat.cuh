// Passes over flat vectors on the device.
#pragma once
#include <cmath>
#include <initializer_list>

#include "common/gpu.cuh"
#include "common/memory.h"
#include "core/finite.h"
#include "kernels/flat_check.h"

namespace osc {
namespace {

constexpr int kFlatThreads = 256;
constexpr int kFlatEach = 4;  // elements of a thread, a block apart from each other

__device__ inline float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
__device__ inline double multiply_add(double a, double b, double c) { return fma(a, b, c); }

// f(i) for every i < size, unless `bad` is given and names a position: see FiniteGuard.
__device__ inline bool tripped(const unsigned long long* bad) { return bad && (bad[0] != ~0ULL || bad[1] != ~0ULL); }

template <class F>
OSC_GLOBAL each_element(F f, int64_t size, const unsigned long long* bad) {
  if (tripped(bad)) return;
  const int64_t start = static_cast<int64_t>(blockIdx.x) * kFlatThreads * kFlatEach + threadIdx.x;
  for (int k = 0; k < kFlatEach; ++k) {
    const int64_t i = start + k * kFlatThreads;
    if (i < size) f(i);
  }
}

template <class F>
Status launch_each(const F& f, int64_t size, const unsigned long long* bad = nullptr) {
  if (size == 0) return ok();
  const unsigned blocks = static_cast<unsigned>(blocks_for(size, kFlatThreads * kFlatEach));
  return launch(each_element<F>, blocks, kFlatThreads, 0, f, size, bad);
}

OSC_GLOBAL find_bad(const float* x, int64_t size, unsigned long long* first) {
  const int64_t start = static_cast<int64_t>(blockIdx.x) * kFlatThreads * kFlatEach + threadIdx.x;
  for (int k = 0; k < kFlatEach; ++k) {
    const int64_t i = start + k * kFlatThreads;
    if (i < size && !is_finite(x[i])) atomicMin(first, static_cast<unsigned long long>(i));
  }
}

// Looks for NaN and Inf on the device. Kernels launched after it take flags() and do nothing when there is one; the host
// asks for the verdict after they were launched, so that the device never waits for the host.
class FiniteGuard {
 public:
  static constexpr int kMost = 2;  // vectors

  Status look(std::initializer_list<NamedVector> vectors) {
    first_ = DeviceBuffer<unsigned long long>(kMost);
    if (!first_) return first_.status();
    OSC_TRY(set_bytes(first_.get(), 0xFF, first_.bytes()));
    for (const NamedVector& vector : vectors) {
      const int64_t size = size_of(vector.tensor);
      names_[count_] = vector.name;
      unsigned long long* first = first_.get() + count_++;
      if (size == 0) continue;
      const unsigned blocks = static_cast<unsigned>(blocks_for(size, kFlatThreads * kFlatEach));
      OSC_TRY(launch(find_bad, blocks, kFlatThreads, 0, data<float>(vector.tensor), size, first));
    }
    return ok();
  }

  // Null when nothing was looked for.
  const unsigned long long* flags() const { return first_.get(); }

  // Waits for the device.
  Status verdict() const {
    if (!first_) return ok();
    unsigned long long first[kMost];
    OSC_TRY(copy_to_host(first, first_.get(), sizeof first));
    for (int v = 0; v < count_; ++v) {
      if (first[v] == ~0ULL) continue;
      const int64_t at = static_cast<int64_t>(first[v]);
      return fail(OSC_NON_FINITE, at, "%s is not finite at position %lld", names_[v], static_cast<long long>(at));
    }
    return ok();
  }

 private:
  DeviceBuffer<unsigned long long> first_;
  const char* names_[kMost] = {};
  int count_ = 0;
};

}  // namespace
}  // namespace osc
