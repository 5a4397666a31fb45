#include <algorithm>
#include <cstring>
#include <mutex>

#include "common/device.h"
#include "common/memory.h"

namespace osc {
namespace {

// Two pinned buffers used in turn: while one is on its way, the other is filled or emptied.
class Staging {
 public:
  static Staging& instance() {
    static auto* staging = new Staging;
    return *staging;
  }

  Status to_device(char* device, const char* host, int64_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    OSC_TRY(make());
    for (int64_t from = 0, part = 0; from < bytes; from += kPart, ++part) {
      Half& half = halves_[part % 2];
      const int64_t length = std::min(kPart, bytes - from);
      OSC_TRY(cuda_status(cudaEventSynchronize(half.sent), "a copy to the device"));
      std::memcpy(half.pinned, host + from, static_cast<size_t>(length));
      OSC_TRY(send(device + from, half.pinned, length, cudaMemcpyHostToDevice, half));
    }
    return ok();
  }

  Status to_host(char* host, const char* device, int64_t bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    OSC_TRY(make());
    const int64_t parts = (bytes + kPart - 1) / kPart;
    const auto length = [bytes](int64_t part) { return std::min(kPart, bytes - part * kPart); };
    for (int64_t part = 0; part <= parts; ++part) {
      Half& next = halves_[part % 2];
      if (part < parts) OSC_TRY(send(next.pinned, device + part * kPart, length(part), cudaMemcpyDeviceToHost, next));
      if (part == 0) continue;
      Half& here = halves_[(part - 1) % 2];
      OSC_TRY(cuda_status(cudaEventSynchronize(here.sent), "a copy from the device"));
      std::memcpy(host + (part - 1) * kPart, here.pinned, static_cast<size_t>(length(part - 1)));
    }
    return ok();
  }

 private:
  static constexpr int64_t kPart = 4 << 20;
  struct Half {
    void* pinned = nullptr;
    cudaEvent_t sent{};
  };

  Status make() {
    for (Half& half : halves_) {
      if (half.pinned) continue;
      OSC_TRY(cuda_status(cudaEventCreateWithFlags(&half.sent, cudaEventDisableTiming), "an event"));
      OSC_TRY(cuda_status(cudaMallocHost(&half.pinned, kPart), "pinned memory"));
    }
    return ok();
  }

  static Status send(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind, Half& half) {
    OSC_TRY(cuda_status(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), kind, stream()), "a copy"));
    return cuda_status(cudaEventRecord(half.sent, stream()), "a copy");
  }

  std::mutex mutex_;
  Half halves_[2];
};

}  // namespace

Status copy_to_device(void* device, const void* host, int64_t bytes) {
  return bytes ? Staging::instance().to_device(static_cast<char*>(device), static_cast<const char*>(host), bytes) : ok();
}

Status copy_to_host(void* host, const void* device, int64_t bytes) {
  if (bytes == 0) return synchronize();
  return Staging::instance().to_host(static_cast<char*>(host), static_cast<const char*>(device), bytes);
}

Status copy_on_device(void* to, const void* from, int64_t bytes) {
  return cuda_status(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream()), "a copy");
}

Status set_bytes(void* device, int value, int64_t bytes) {
  return cuda_status(cudaMemsetAsync(device, value, static_cast<size_t>(bytes), stream()), "a fill");
}

Status set_zero(void* device, int64_t bytes) { return set_bytes(device, 0, bytes); }

}  // namespace osc
