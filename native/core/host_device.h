// Marks functions that the CPU and the GPU compile alike.
#pragma once

#if defined(__CUDACC__)
#define OSC_HOST_DEVICE __host__ __device__
#else
#define OSC_HOST_DEVICE
#endif
