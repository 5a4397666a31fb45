// What a .cu file includes. The same sources are compiled by nvcc and, for the emulator, by g++ (cuda/README.md), so
// kernels are written in the part of CUDA that both understand, C++17:
//
//   OSC_GLOBAL name(...)                     a kernel: `__global__ void`. In an anonymous namespace; templates are fine.
//   __device__, OSC_HOST_DEVICE              as in CUDA (OSC_DEVICE is a status)
//   osc::launch(kernel, grid, block, dynamic_bytes, arguments...) -> Status
//                                            on the one stream; instead of <<<>>>. A grid without blocks is an error.
//   osc::check_launch() is inside it: what the hardware would refuse (shape, shared memory) is a Status, not a crash.
//   OSC_SHARED(float, tile, [16][17]);       `__shared__ float tile[16][17]`; OSC_SHARED(float, total); for a scalar
//   osc::dynamic_shared<T>()                 instead of `extern __shared__`; also spelled osc_dyn_smem<T>()
//   osc::cp_async16(shared, global), cp_async4, cp_commit(), cp_wait<N>()   (copy_async.cuh)
//   osc::mma_*                               tensor cores (mma.cuh)
// and as CUDA spells them: threadIdx, blockIdx, blockDim, gridDim, dim3, float4 and its kin, __syncthreads (and _or, _and,
// _count), __syncwarp, __shfl_*_sync, __ballot_sync, __any_sync, __all_sync, __reduce_*_sync, the atomics, __threadfence, __ldg,
// __popc, __clz, __ffs, rsqrtf, __expf, min, max.
//
// Rules that the emulator holds you to: every lane of a mask takes part in a warp operation, from one source line; a
// barrier is reached by all threads of a block that have not returned, from one source line; shared memory holds NaN until it
// is written; shuffles and votes order no memory, __syncwarp does. Not there: wgmma, TMA, cooperative groups, textures.
// Write fmaf where bits matter: nvcc contracts a*b+c and the emulator does not. Halves are uint16_t, converted by
// core/half.h. Reductions never go through floating-point atomics (reduce.cuh has trees).
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/host_device.h"
#include "core/status.h"

#if defined(__CUDACC__)
#include "common/cuda_launch.cuh"
#else
#include "emulator/emulator.h"
#endif

#include "common/copy_async.cuh"
#include "common/mma.cuh"

namespace osc {

constexpr int kWarp = 32;

// Blocks that cover `count` items with `per_block` each.
OSC_HOST_DEVICE constexpr int64_t blocks_for(int64_t count, int64_t per_block) {
  return (count + per_block - 1) / per_block;
}

// Blocks for a loop that strides over `count` items by the whole grid: at least 1, at most `limit`. The limit is a constant,
// never the size of the device, wherever the number of blocks can be seen in a result.
OSC_HOST_DEVICE constexpr unsigned grid_for(int64_t count, int64_t per_block, int64_t limit = 4096) {
  const int64_t blocks = blocks_for(count, per_block);
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks < limit ? blocks : limit);
}

// First item of this thread and the distance to its next in a one-dimensional loop over the whole grid.
__device__ inline int64_t global_thread() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t global_threads() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

}  // namespace osc

template <class T>
__device__ T* osc_dyn_smem() {
  return osc::dynamic_shared<T>();
}
