// Buffers on the device for tests that launch kernels of their own.
#pragma once
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "common/memory.h"

namespace osc::test {

template <class T>
struct OnDevice {
  explicit OnDevice(int64_t count) : count(count), buffer(count) { REQUIRE(buffer.status().code == OSC_OK); }
  explicit OnDevice(const std::vector<T>& values) : OnDevice(static_cast<int64_t>(values.size())) {
    REQUIRE(copy_to_device(buffer.get(), values.data(), count * static_cast<int64_t>(sizeof(T))).code == OSC_OK);
  }
  T* get() const { return buffer.get(); }
  std::vector<T> values() const {
    std::vector<T> host(static_cast<size_t>(count));
    REQUIRE(copy_to_host(host.data(), buffer.get(), count * static_cast<int64_t>(sizeof(T))).code == OSC_OK);
    return host;
  }
  int64_t count;
  DeviceBuffer<T> buffer;
};

}  // namespace osc::test
