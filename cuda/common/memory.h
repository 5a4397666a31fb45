// Memory of the device: tensors and workspaces from one caching allocator, and copies. Everything is in the order of the one
// stream: a block may be released while work that uses it is under way, since whoever gets it next comes later in the stream.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

#include "backend/kernel_table.h"
#include "core/status.h"

namespace osc {

// 256-byte aligned, not cleared (on the emulator NaN in every float type). OUT_OF_MEMORY: index = bytes requested, value =
// bytes free on the device, after everything cached was given back.
Status device_allocate(int64_t bytes, void** memory);
void device_release(void* memory, int64_t bytes);  // bytes as asked for
void device_statistics(OscMemoryStatistics* statistics, bool reset_peak);

// To and from memory of the host. Both may use `host` as they like when they return; copy_to_host waits for the work before
// it and reports its errors. Through pinned buffers, so that the transfer of one part runs beside the copy of another.
Status copy_to_device(void* device, const void* host, int64_t bytes);
Status copy_to_host(void* host, const void* device, int64_t bytes);
// Enqueued like a kernel.
Status copy_on_device(void* to, const void* from, int64_t bytes);
Status set_zero(void* device, int64_t bytes);
Status set_bytes(void* device, int value, int64_t bytes);

// Waits for all work; its errors come out here.
Status synchronize();

// A workspace that frees itself: `DeviceBuffer<float> sums(n); if (!sums) return sums.status();`
template <class T>
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(int64_t count) : bytes_((count < 1 ? 1 : count) * static_cast<int64_t>(sizeof(T))) {
    void* memory = nullptr;
    status_ = device_allocate(bytes_, &memory);
    data_ = static_cast<T*>(memory);
  }
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~DeviceBuffer() {
    if (data_) device_release(data_, bytes_);
  }
  T* get() const { return data_; }
  explicit operator bool() const { return data_ != nullptr; }
  const Status& status() const { return status_; }  // OUT_OF_MEMORY when there is no memory
  int64_t bytes() const { return bytes_; }

 private:
  void swap(DeviceBuffer& other) {
    std::swap(bytes_, other.bytes_);
    std::swap(data_, other.data_);
    std::swap(status_, other.status_);
  }
  int64_t bytes_ = 0;
  T* data_ = nullptr;
  Status status_ = ok();
};

// One value from the device; waits.
template <class T>
Status read_value(const T* device, T* value) {
  return copy_to_host(value, device, static_cast<int64_t>(sizeof(T)));
}

}  // namespace osc
