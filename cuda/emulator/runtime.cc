#include "emulator/runtime.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <new>

#include "emulator/sanitizers.h"
#include "emulator/settings.h"

namespace osc::emulator {
namespace {

constexpr size_t kPage = 64 << 10;  // a multiple of any page size in use
// NaN as float16, bfloat16, float32 and float64, and a number nobody expects as an integer.
constexpr uint16_t kPoison = 0x7FF8;

// The memory of the device: one reserved range, cut first fit. Not accessible except inside DeviceAccess.
class DeviceMemory {
 public:
  static DeviceMemory& instance() {
    static auto* memory = new DeviceMemory;  // never destroyed: threads may free while the process ends
    return *memory;
  }

  void lock() {
    mutex_.lock();
    if (depth_++ == 0 && used_ > 0) mprotect(base_, used_, PROT_READ | PROT_WRITE);
  }
  void unlock() {
    if (--depth_ == 0 && used_ > 0) mprotect(base_, used_, PROT_NONE);
    mutex_.unlock();
  }

  void* take(size_t bytes) {
    const size_t size = (std::max<size_t>(bytes, 1) + kPage - 1) / kPage * kPage;
    for (auto range = free_.begin(); range != free_.end(); ++range) {
      if (range->second < size) continue;
      const size_t offset = range->first, rest = range->second - size;
      free_.erase(range);
      if (rest) free_[offset + size] = rest;
      if (offset + size > used_) {
        if (mprotect(base_ + used_, offset + size - used_, PROT_READ | PROT_WRITE) != 0) {
          put_back(offset, size);
          return nullptr;
        }
        used_ = offset + size;
      }
      taken_[offset] = size;
      free_bytes_ -= size;
      return base_ + offset;
    }
    return nullptr;
  }

  bool give(void* memory) {
    const auto found = taken_.find(static_cast<size_t>(static_cast<char*>(memory) - base_));
    if (!base_ || found == taken_.end()) return false;
    const auto [offset, size] = *found;
    taken_.erase(found);
    allow(memory, size);
    madvise(memory, size, MADV_DONTNEED);
    put_back(offset, size);
    free_bytes_ += size;
    return true;
  }

  // Whether all of [memory, memory + bytes) belongs to one allocation.
  bool holds(const void* memory, size_t bytes) const {
    const char* first = static_cast<const char*>(memory);
    if (first < base_ || first >= base_ + total_) return false;
    const size_t offset = static_cast<size_t>(first - base_);
    auto after = taken_.upper_bound(offset);
    if (after == taken_.begin()) return false;
    --after;
    return offset + bytes <= after->first + after->second;
  }

  size_t free_bytes() const { return free_bytes_; }
  size_t total() const { return total_; }

 private:
  DeviceMemory() : total_(std::max(settings().memory_bytes / kPage, uint64_t{1}) * kPage) {
    void* range = mmap(nullptr, total_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) total_ = 0;
    base_ = total_ ? static_cast<char*>(range) : nullptr;
    free_bytes_ = total_;
    if (total_) free_[0] = total_;
  }

  void put_back(size_t offset, size_t size) {
    auto here = free_.emplace(offset, size).first;
    const auto next = std::next(here);
    if (next != free_.end() && offset + size == next->first) {
      here->second += next->second;
      free_.erase(next);
    }
    if (here != free_.begin()) {
      const auto before = std::prev(here);
      if (before->first + before->second == here->first) {
        before->second += here->second;
        free_.erase(here);
      }
    }
  }

  char* base_ = nullptr;
  size_t total_, used_ = 0, free_bytes_ = 0;  // used: what has ever been handed out ends here
  std::map<size_t, size_t> free_, taken_;     // offset to size
  std::recursive_mutex mutex_;
  int depth_ = 0;
};

}  // namespace

DeviceAccess::DeviceAccess() { DeviceMemory::instance().lock(); }
DeviceAccess::~DeviceAccess() { DeviceMemory::instance().unlock(); }

// The red zone begins at the exact byte; the pattern is laid on words, which a block always has room for.
void poison(void* memory, size_t bytes, size_t tail) {
  const DeviceAccess access;
  auto* words = static_cast<uint16_t*>(memory);
  std::fill(words, words + (bytes + tail + 1) / 2, kPoison);
  forbid(static_cast<char*>(memory) + bytes, tail);
}

bool unpoison(void* memory, size_t bytes, size_t tail) {
  const DeviceAccess access;
  const auto* values = static_cast<const unsigned char*>(memory);
  allow(values + bytes, tail);
  for (size_t i = bytes; i < bytes + tail; ++i) {
    if (values[i] != static_cast<unsigned char>(kPoison >> (8 * (i % 2)))) return false;
  }
  return true;
}

}  // namespace osc::emulator

using osc::emulator::DeviceAccess;
using osc::emulator::DeviceMemory;

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    default: return "unspecified launch failure";
  }
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"emulated GPU", DeviceMemory::instance().total(), 9, 0, osc::emulator::settings().threads};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 227 * 1024;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  const DeviceAccess access;
  *free_bytes = DeviceMemory::instance().free_bytes();
  *total_bytes = DeviceMemory::instance().total();
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** memory, size_t bytes) {
  const DeviceAccess access;
  *memory = DeviceMemory::instance().take(bytes);
  return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void* memory) {
  const DeviceAccess access;
  return !memory || DeviceMemory::instance().give(memory) ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  *memory = std::malloc(bytes);
  return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  const DeviceAccess access;
  const DeviceMemory& memory = DeviceMemory::instance();
  const bool to_device = kind != cudaMemcpyDeviceToHost, from_device = kind != cudaMemcpyHostToDevice;
  if (bytes == 0) return cudaSuccess;
  if (memory.holds(to, bytes) != to_device || memory.holds(from, bytes) != from_device) return cudaErrorInvalidValue;
  std::memmove(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t) {
  const DeviceAccess access;
  if (bytes == 0) return cudaSuccess;
  if (!DeviceMemory::instance().holds(memory, bytes)) return cudaErrorInvalidValue;
  std::memset(memory, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = nullptr;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = nullptr;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
