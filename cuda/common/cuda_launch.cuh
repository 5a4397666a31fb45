// gpu.cuh under nvcc.
#pragma once
#include <cuda_runtime.h>

#define OSC_GLOBAL __global__ void
#define OSC_SHARED(type, name, ...) __shared__ type name __VA_ARGS__

namespace osc {

cudaStream_t stream();  // the one stream (runtime.cu)
Status cuda_status(cudaError_t error, const char* what);

template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char osc_dynamic_shared[];
  return reinterpret_cast<T*>(osc_dynamic_shared);
}

template <class... Parameters, class... Arguments>
Status launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t dynamic_bytes, Arguments&&... arguments) {
  if (dynamic_bytes > 48 * 1024) {
    const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(dynamic_bytes));
    if (error != cudaSuccess) {
      cudaGetLastError();
      return cuda_status(error, "shared memory of a launch");
    }
  }
  kernel<<<grid, block, dynamic_bytes, stream()>>>(static_cast<Parameters>(arguments)...);
  return cuda_status(cudaGetLastError(), "launch");
}

}  // namespace osc
