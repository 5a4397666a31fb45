// The devices of this process: the CPU, and the plug-ins that were opened.
#pragma once
#include "kernel_table.h"

namespace osc {

struct Device {
  const OscKernelTable* table = nullptr;
  OscDeviceInfo info{};  // of a plug-in
};

// The CPU, or a plug-in opened before; null otherwise. Any thread.
const Device* find_device(const char* name);

// Opens the plug-in at `path` for the device `name`, once a process: later calls return what the first one opened.
// DEVICE: it cannot be opened, is of another version, or finds no usable processor; the message says which.
Status open_device(const char* name, const char* path, const Device** device);

}  // namespace osc
