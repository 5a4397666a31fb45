// The device, its one stream, and what it says when something fails.
#pragma once
#include "backend/kernel_table.h"
#include "common/gpu.cuh"

namespace osc {

// Finds the device, checks that this build can run on it, makes the stream. DEVICE says why not. Later calls fill info anew.
Status open_device_memory(OscDeviceInfo* info);

// What a call of the CUDA runtime answered, as a Status: DEVICE, or OUT_OF_MEMORY.
Status cuda_status(cudaError_t error, const char* what);

cudaStream_t stream();

}  // namespace osc
