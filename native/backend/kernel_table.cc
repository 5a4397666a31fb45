#include "kernel_table.h"

#include <cstring>
#include <exception>
#include <new>

#include "../kernels.h"
#include "interface_hash.h"

namespace osc {
namespace {

// No exception crosses the table: what a kernel's C++ throws becomes a status here.
template <class Args, Status (*kernel)(Args&, const Context&)>
OscStatus guarded(void* args, const OscContext* context) {
  try {
    return kernel(*static_cast<Args*>(args), *context);
  } catch (const std::bad_alloc&) {
    return fail(OSC_OUT_OF_MEMORY, 0, "no memory for a workspace");
  } catch (const std::exception& error) {
    return fail(OSC_INTERNAL, 0, "%s", error.what());
  } catch (...) {
    return fail(OSC_INTERNAL, 0, "unknown exception");
  }
}

constexpr OscKernel kCpuKernels[] = {
#define OSC_KERNEL(stem, Type) {#stem, guarded<Type##Args, stem>},
#include "../kernels.def"
#undef OSC_KERNEL
};

constexpr uint32_t kKernelCount = sizeof kCpuKernels / sizeof kCpuKernels[0];

}  // namespace

const OscKernelTable& cpu_kernel_table() {
  static const OscKernelTable table{OSC_TABLE_VERSION, kernel_interface_hash(), "cpu", "linked in", nullptr, kKernelCount, kCpuKernels};
  return table;
}

int kernel_index(const char* name) {
  for (uint32_t i = 0; i < kKernelCount; ++i) {
    if (std::strcmp(kCpuKernels[i].name, name) == 0) return static_cast<int>(i);
  }
  return -1;
}

}  // namespace osc
