// The table of a device plug-in: `osc_kernel_table` is the one symbol that libosculate_cuda.so and libosculate_emulator.so
// export. A kernel without a .cu file is a hole in it (run is null).
#include <exception>
#include <new>

#include "backend/interface_hash.h"
#include "backend/kernel_table.h"
#include "common/device.h"
#include "common/memory.h"
#include "kernels.h"

#ifndef OSC_VERSION
#define OSC_VERSION "0.0.0"
#endif

namespace osc {

// Weak: null when no file defines it. Hidden, so that a function of the addon with this name is not taken for it.
#define OSC_KERNEL(stem, Type) __attribute__((weak, visibility("hidden"))) Status stem(Type##Args& args, const Context& context);
#include "kernels.def"
#undef OSC_KERNEL

namespace {

// No exception crosses the table.
template <class F>
OscStatus guarded(F&& f) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    return fail(OSC_OUT_OF_MEMORY, 0, "no memory on the host");
  } catch (const std::exception& error) {
    return fail(OSC_INTERNAL, 0, "%s", error.what());
  } catch (...) {
    return fail(OSC_INTERNAL, 0, "unknown exception");
  }
}

#define OSC_KERNEL(stem, Type)                                                                         \
  OscStatus run_##stem(void* args, const OscContext* context) {                                        \
    return guarded([=] { return stem(*static_cast<Type##Args*>(args), *context); });                   \
  }
#include "kernels.def"
#undef OSC_KERNEL

const OscKernel kKernels[] = {
#define OSC_KERNEL(stem, Type) {#stem, static_cast<Status (*)(Type##Args&, const Context&)>(stem) ? run_##stem : nullptr},
#include "kernels.def"
#undef OSC_KERNEL
};

OscStatus open(OscDeviceInfo* info) {
  return guarded([=] { return open_device_memory(info); });
}
OscStatus allocate(int64_t bytes, void** memory) {
  return guarded([=] { return device_allocate(bytes, memory); });
}
void release(void* memory, int64_t bytes) {
  guarded([=] {
    device_release(memory, bytes);
    return ok();
  });
}
void statistics(OscMemoryStatistics* statistics, int32_t reset_peak) { device_statistics(statistics, reset_peak != 0); }
OscStatus copy_in(void* device, const void* host, int64_t bytes) {
  return guarded([=] { return copy_to_device(device, host, bytes); });
}
OscStatus copy_out(void* host, const void* device, int64_t bytes) {
  return guarded([=] { return copy_to_host(host, device, bytes); });
}
OscStatus wait() {
  return guarded([] { return synchronize(); });
}

const OscDevice kDevice{open, allocate, release, statistics, copy_in, copy_out, wait};

#if defined(__CUDACC__)
constexpr const char* kName = "cuda";
#define OSC_STRING(x) #x
#define OSC_NVCC(major, minor) " nvcc " OSC_STRING(major) "." OSC_STRING(minor)
constexpr const char* kBuild = OSC_VERSION OSC_NVCC(__CUDACC_VER_MAJOR__, __CUDACC_VER_MINOR__);
#else
constexpr const char* kName = "emulator";
constexpr const char* kBuild = OSC_VERSION " g++ " __VERSION__;
#endif

}  // namespace
}  // namespace osc

extern "C" __attribute__((visibility("default"))) const OscKernelTable* osc_kernel_table() {
  static const OscKernelTable table{OSC_TABLE_VERSION, osc::kernel_interface_hash(), osc::kName, osc::kBuild, &osc::kDevice,
                                    sizeof osc::kKernels / sizeof osc::kKernels[0], osc::kKernels};
  return &table;
}
