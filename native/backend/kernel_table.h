// The C table through which every device offers its kernels. The CPU table is linked in; a plug-in (CUDA, emulator)
// exports `const OscKernelTable* osc_kernel_table(void)` and is opened at run time (devices.h). Bump the version when a struct
// of core/ or of this file changes; what changes in kernels.def and kernels.h is seen by the hash.
#pragma once
#include <cstdint>

#include "../core/context.h"
#include "../core/status.h"

extern "C" {

enum { OSC_TABLE_VERSION = 2 };

struct OscKernel {
  const char* name;                                       // the stem of kernels.def
  OscStatus (*run)(void* args, const OscContext* context);  // args: the kernel's argument struct; never throws
};

struct OscDeviceInfo {
  char name[128];              // of the processor: "NVIDIA H100 80GB HBM3", "emulated GPU"
  char versions[256];          // runtime, driver, BLAS and solver, or why one of them is missing
  int64_t total_bytes, free_bytes;
};

struct OscMemoryStatistics {
  int64_t live_bytes, peak_bytes, cached_bytes, live_blocks;
};

// A device with memory of its own. All functions may be called from any thread and never throw. Work is ordered: one stream
// for kernels and copies of a process.
struct OscDevice {
  OscStatus (*open)(OscDeviceInfo* info);                    // first of all; again: only fills info. DEVICE: why not
  OscStatus (*allocate)(int64_t bytes, void** memory);       // from the cache; OUT_OF_MEMORY: index = requested, value = free
  void (*release)(void* memory, int64_t bytes);              // to the cache; work already started may still use it
  void (*statistics)(OscMemoryStatistics* statistics, int32_t reset_peak);
  OscStatus (*copy_in)(void* device, const void* host, int64_t bytes);   // host may be reused at return
  OscStatus (*copy_out)(void* host, const void* device, int64_t bytes);  // waits for the work before it
  OscStatus (*synchronize)();                                // waits for all work; its errors come out here
};

struct OscKernelTable {
  uint32_t version;          // OSC_TABLE_VERSION of the builder
  uint64_t interface_hash;   // osc::kernel_interface_hash() of the builder
  const char* device;        // "cpu", "cuda", "emulator"
  const char* build;         // of the addon or plug-in: its package version and compiler
  const OscDevice* memory;   // null: tensors live in the host's memory
  uint32_t kernel_count;     // rows in the order of kernels.def; run is null where the device has no such kernel
  const OscKernel* kernels;
};

}  // extern "C"

namespace osc {

const OscKernelTable& cpu_kernel_table();

// Row of `name` in kernels.def, -1 when there is none.
int kernel_index(const char* name);

}  // namespace osc
