// The C table through which every device offers its kernels. The CPU table is linked in; a plug-in (CUDA, emulator)
// exports `osc_kernel_table` and is opened at run time. Bump the version when a struct of core/ or an argument changes.
#pragma once
#include <cstdint>

#include "../core/context.h"
#include "../core/status.h"

extern "C" {

enum { OSC_TABLE_VERSION = 1 };

struct OscKernel {
  const char* name;                                       // the stem of kernels.def
  OscStatus (*run)(void* args, const OscContext* context);  // args: the kernel's argument struct; never throws
};

struct OscKernelTable {
  uint32_t version;       // OSC_TABLE_VERSION of the builder
  const char* device;     // "cpu", "cuda", "emulator"
  uint32_t kernel_count;  // rows in the order of kernels.def; run is null where the device has no such kernel
  const OscKernel* kernels;
};

}  // extern "C"

namespace osc {

const OscKernelTable& cpu_kernel_table();

// Row of `name` in kernels.def, -1 when there is none.
int kernel_index(const char* name);

// The table of a device, or null with the reason.
const OscKernelTable* device_table(const char* device, const char** reason);

}  // namespace osc
