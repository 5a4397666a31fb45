#include "devices.h"

#include <cstring>
#include <deque>
#include <mutex>

#include "../core/platform/library.h"
#include "interface_hash.h"

namespace osc {
namespace {

struct Registry {
  std::mutex mutex;
  std::deque<Device> devices;  // stable addresses, never shrinks
};

Registry& registry() {
  static auto* instance = new Registry;  // threads may ask while the process ends
  return *instance;
}

const Device* find_locked(Registry& all, const char* name) {
  for (const Device& device : all.devices) {
    if (std::strcmp(device.table->device, name) == 0) return &device;
  }
  return nullptr;
}

Status check(const OscKernelTable* table, const char* name) {
  if (!table || table->version != OSC_TABLE_VERSION) {
    return fail(OSC_DEVICE, 0, "the plug-in is of another version of osculate: table %u instead of %u",
                table ? table->version : 0, static_cast<uint32_t>(OSC_TABLE_VERSION));
  }
  if (table->interface_hash != kernel_interface_hash() || table->kernel_count != cpu_kernel_table().kernel_count) {
    return fail(OSC_DEVICE, 0, "the plug-in is of another version of osculate: its kernels take other arguments");
  }
  if (std::strcmp(table->device, name) != 0) {
    return fail(OSC_DEVICE, 0, "the plug-in is for device %s", table->device);
  }
  if (!table->memory) return fail(OSC_DEVICE, 0, "the plug-in offers no memory");
  return ok();
}

}  // namespace

const Device* find_device(const char* name) {
  static const Device cpu{&cpu_kernel_table(), {}};
  if (std::strcmp(name, "cpu") == 0) return &cpu;
  Registry& all = registry();
  const std::lock_guard<std::mutex> lock(all.mutex);
  return find_locked(all, name);
}

Status open_device(const char* name, const char* path, const Device** device) {
  Registry& all = registry();
  const std::lock_guard<std::mutex> lock(all.mutex);
  *device = find_locked(all, name);
  if (*device) return ok();
  char reason[160] = {0};
  void* library = open_library(path, reason, sizeof reason);
  if (!library) return fail(OSC_DEVICE, 0, "%s", reason);
  using TableFunction = const OscKernelTable* (*)();
  const auto table_function = reinterpret_cast<TableFunction>(library_symbol(library, "osc_kernel_table"));
  if (!table_function) return fail(OSC_DEVICE, 0, "it exports no osc_kernel_table: not a plug-in of osculate");
  const OscKernelTable* table = table_function();
  OSC_TRY(check(table, name));
  OscDeviceInfo info{};
  OSC_TRY(table->memory->open(&info));
  all.devices.push_back(Device{table, info});
  *device = &all.devices.back();
  return ok();
}

}  // namespace osc
