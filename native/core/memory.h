// The caching allocator behind tensors and kernel workspaces.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace osc {

struct MemoryStats {
  int64_t live_bytes;    // handed out now
  int64_t peak_bytes;    // most ever handed out at once since reset_peak
  int64_t cached_bytes;  // freed and kept for reuse
  int64_t live_blocks;
};

// 64-byte aligned, not zeroed; null when the system has no memory. Freed blocks are kept (up to a bound) and reused.
void* allocate(size_t bytes);
void release(void* pointer, size_t bytes);  // bytes as asked for
void empty_cache();
MemoryStats memory_stats();
void reset_peak();

// A workspace that frees itself. Check for failure with `if (!buffer)`.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t count)
      : bytes_(static_cast<size_t>(count < 1 ? 1 : count) * sizeof(T)), data_(static_cast<T*>(allocate(bytes_))) {}
  Buffer(Buffer&& other) noexcept : bytes_(other.bytes_), data_(other.data_) { other.data_ = nullptr; }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Buffer() {
    if (data_) release(data_, bytes_);
  }
  T* get() const { return data_; }
  T& operator[](int64_t i) const { return data_[i]; }
  explicit operator bool() const { return data_ != nullptr; }
  int64_t bytes() const { return static_cast<int64_t>(bytes_); }

 private:
  size_t bytes_ = 0;
  T* data_ = nullptr;
};

}  // namespace osc
