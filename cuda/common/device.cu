#include "common/device.h"

#include <cstdio>

#include "common/blas.h"

namespace osc {
namespace {

constexpr int kOldestMajor = 8;  // compute capability 8.0: cp.async, bf16 and tf32 products
cudaStream_t the_stream{};
bool opened = false;

Status find_device() {
  int count = 0, driver = 0, runtime = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    cudaGetLastError();
    if (driver == 0 && runtime != 0) return fail(OSC_DEVICE, 0, "no NVIDIA driver was found: %s", cudaGetErrorString(error));
    return fail(OSC_DEVICE, 0, "no usable GPU (driver for CUDA %d.%d, plug-in built with CUDA %d.%d): %s", driver / 1000,
                driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10,
                error == cudaSuccess ? "no device is visible" : cudaGetErrorString(error));
  }
  return ok();
}

}  // namespace

cudaStream_t stream() { return the_stream; }

Status cuda_status(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return ok();
  if (error == cudaErrorMemoryAllocation) return fail(OSC_OUT_OF_MEMORY, 0, "%s: %s", what, cudaGetErrorString(error));
  return fail(OSC_DEVICE, static_cast<int64_t>(error), "%s: %s", what, cudaGetErrorString(error));
}

Status open_device_memory(OscDeviceInfo* info) {
  *info = OscDeviceInfo{};
  OSC_TRY(find_device());
  cudaDeviceProp properties;
  OSC_TRY(cuda_status(cudaGetDeviceProperties(&properties, 0), "properties of the device"));
  if (properties.major < kOldestMajor) {
    return fail(OSC_DEVICE, 0, "%.100s has compute capability %d.%d; at least %d.0 is needed", properties.name, properties.major,
                properties.minor, kOldestMajor);
  }
  if (!opened) {
    OSC_TRY(cuda_status(cudaStreamCreateWithFlags(&the_stream, cudaStreamNonBlocking), "a stream"));
    opened = true;
  }
  size_t free_bytes = 0, total_bytes = 0;
  OSC_TRY(cuda_status(cudaMemGetInfo(&free_bytes, &total_bytes), "memory of the device"));
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  std::snprintf(info->name, sizeof info->name, "%.127s", properties.name);
  std::snprintf(info->versions, sizeof info->versions, "compute %d.%d, %d processors, driver for CUDA %d.%d, runtime %d.%d, %.150s",
                properties.major, properties.minor, properties.multiProcessorCount, driver / 1000, driver % 1000 / 10,
                runtime / 1000, runtime % 1000 / 10, device_blas_description());
  info->total_bytes = static_cast<int64_t>(total_bytes);
  info->free_bytes = static_cast<int64_t>(free_bytes);
  return ok();
}

}  // namespace osc
