#include "common/memory.h"

#include <algorithm>
#include <map>
#include <mutex>

#include "common/device.h"

namespace osc {
namespace {

// Coarser steps for larger blocks so that nearly equal sizes share a cached block; at most 1/16 is wasted.
int64_t rounded(int64_t bytes) {
  int64_t step = 256;
  while (step * 32 < bytes) step *= 2;
  return (std::max(bytes, int64_t{1}) + step - 1) / step * step;
}

#if defined(__CUDACC__)
constexpr int64_t kTail = 0;
void hand_out(void*, int64_t) {}
bool take_back(void*, int64_t) { return true; }
#else
// Every block on the emulator begins as NaN and is followed by a red zone, which is looked at when it comes back.
constexpr int64_t kTail = 64;
void hand_out(void* memory, int64_t bytes) {
  emulator::poison(memory, static_cast<size_t>(bytes), static_cast<size_t>(rounded(bytes + kTail) - bytes));
}
bool take_back(void* memory, int64_t bytes) {
  return emulator::unpoison(memory, static_cast<size_t>(bytes), static_cast<size_t>(rounded(bytes + kTail) - bytes));
}
#endif

// Freed blocks are kept until the device has no more memory.
class Cache {
 public:
  static Cache& instance() {
    static auto* cache = new Cache;  // never destroyed: finalizers may run late
    return *cache;
  }

  Status take(int64_t bytes, void** memory) {
    const int64_t size = rounded(bytes + kTail);
    const std::lock_guard<std::mutex> lock(mutex_);
    *memory = reuse(size);
    if (!*memory) *memory = get(size);
    if (!*memory) {
      clear();
      *memory = get(size);
    }
    if (!*memory) return no_memory(bytes);
    stats_.live_bytes += size;
    stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.live_bytes);
    ++stats_.live_blocks;
    hand_out(*memory, bytes);
    return ok();
  }

  void give(void* memory, int64_t bytes) {
    const int64_t size = rounded(bytes + kTail);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!take_back(memory, bytes) && overrun_ == 0) overrun_ = bytes;
    stats_.live_bytes -= size;
    --stats_.live_blocks;
    stats_.cached_bytes += size;
    free_.emplace(size, memory);
  }

  // The size of a block that was written past its end since the last call, or 0.
  int64_t overrun() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(overrun_, 0);
  }

  OscMemoryStatistics statistics(bool reset_peak) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const OscMemoryStatistics now = stats_;
    if (reset_peak) stats_.peak_bytes = stats_.live_bytes;
    return now;
  }

 private:
  void* reuse(int64_t size) {
    const auto found = free_.find(size);
    if (found == free_.end()) return nullptr;
    void* memory = found->second;
    free_.erase(found);
    stats_.cached_bytes -= size;
    return memory;
  }

  static void* get(int64_t size) {
    void* memory = nullptr;
    if (cudaMalloc(&memory, static_cast<size_t>(size)) == cudaSuccess) return memory;
    cudaGetLastError();  // not an error of the next call
    return nullptr;
  }

  void clear() {
    cudaStreamSynchronize(stream());
    for (const auto& block : free_) cudaFree(block.second);
    free_.clear();
    stats_.cached_bytes = 0;
  }

  static Status no_memory(int64_t bytes) {
    size_t free_bytes = 0, total_bytes = 0;
    cudaMemGetInfo(&free_bytes, &total_bytes);
    Status status = fail(OSC_OUT_OF_MEMORY, bytes,
                         "%lld bytes requested, %lld of %lld free on the device: dispose tensors, or use smaller batches or layers",
                         static_cast<long long>(bytes), static_cast<long long>(free_bytes), static_cast<long long>(total_bytes));
    status.value = static_cast<double>(free_bytes);
    return status;
  }

  std::mutex mutex_;
  std::multimap<int64_t, void*> free_;
  OscMemoryStatistics stats_{};
  int64_t overrun_ = 0;
};

}  // namespace

Status device_allocate(int64_t bytes, void** memory) { return Cache::instance().take(bytes, memory); }
void device_release(void* memory, int64_t bytes) { Cache::instance().give(memory, bytes); }
void device_statistics(OscMemoryStatistics* statistics, bool reset_peak) {
  *statistics = Cache::instance().statistics(reset_peak);
}

Status synchronize() {
  OSC_TRY(cuda_status(cudaStreamSynchronize(stream()), "work on the device"));
  const int64_t overrun = Cache::instance().overrun();
  if (overrun) return fail(OSC_INTERNAL, overrun, "a kernel wrote past the end of %lld bytes", static_cast<long long>(overrun));
  return ok();
}

}  // namespace osc
