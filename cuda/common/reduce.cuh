// Reductions in an order that depends on nothing but the number of threads: a butterfly in each warp, then one over the warps.
// Every thread calls and every thread gets the result. Blocks have a multiple of 32 threads; warps are whole.
//
// Over a grid: each block writes one partial result, `finish_partials` adds those up in a second launch. The number of blocks
// must then come from sizes alone (grid_for), or the result depends on the device.
#pragma once
#include "common/gpu.cuh"

namespace osc {

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
// NaN wins, so that it is seen.
struct Largest {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a >= b || a != a ? a : b;
  }
};
struct Smallest {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a <= b || a != a ? a : b;
  }
};

template <class T, class F>
__device__ T warp_reduce(T value, F combine) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(0xFFFFFFFFu, value, step));
  return value;
}

// neutral: what does not change a result, 0 for sums.
template <class T, class F>
__device__ T block_reduce(T value, T neutral, F combine) {
  OSC_SHARED(T, partials, [kWarp]);
  const int thread = static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
  const int warps = static_cast<int>(blockDim.x * blockDim.y * blockDim.z) / kWarp;
  value = warp_reduce(value, combine);
  if (thread % kWarp == 0) partials[thread / kWarp] = value;
  __syncthreads();
  value = warp_reduce(thread % kWarp < warps ? partials[thread % kWarp] : neutral, combine);
  __syncthreads();  // the next call writes partials again
  return value;
}

template <class T>
__device__ T warp_sum(T value) {
  return warp_reduce(value, Sum());
}
template <class T>
__device__ T warp_max(T value) {
  return warp_reduce(value, Largest());
}
template <class T>
__device__ T block_sum(T value) {
  return block_reduce(value, T(0), Sum());
}
// lowest: a value no larger than any.
template <class T>
__device__ T block_max(T value, T lowest) {
  return block_reduce(value, lowest, Largest());
}
template <class T>
__device__ T block_min(T value, T highest) {
  return block_reduce(value, highest, Smallest());
}

template <class T, class F>
OSC_GLOBAL finish_partials_kernel(const T* partials, int64_t count, T neutral, F combine, T* result) {
  T value = neutral;
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) value = combine(value, partials[i]);
  value = block_reduce(value, neutral, combine);
  if (threadIdx.x == 0) *result = value;
}

// *result = the combination of partials[0..count), all on the device.
template <class T, class F>
Status finish_partials(const T* partials, int64_t count, T neutral, F combine, T* result) {
  return launch(finish_partials_kernel<T, F>, 1, 256, 0, partials, count, neutral, combine, result);
}

}  // namespace osc
