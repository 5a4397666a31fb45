#include "memory.h"

#include <algorithm>
#include <map>
#include <mutex>

#include "platform/pages.h"

namespace osc {
namespace {

constexpr size_t kAlign = 64;
constexpr size_t kLarge = size_t{1} << 20;           // from here on whole pages, straight from the system
constexpr size_t kCacheLimit = size_t{256} << 20;    // freed bytes kept at most, the newest

// Coarser steps for larger blocks so that nearly equal sizes share a cached block; at most 1/16 is wasted.
size_t rounded(size_t bytes) {
  size_t step = bytes < kLarge ? 256 : size_t{4096};
  while (step * 32 < bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

class Cache {
 public:
  static Cache& instance() {
    static Cache* cache = new Cache;  // never destroyed: finalizers may run late
    return *cache;
  }

  void* take(size_t bytes) {
    const size_t size = rounded(bytes);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      const auto found = free_.find(size);
      if (found != free_.end()) {
        void* block = found->second.pages;
        free_.erase(found);
        stats_.cached_bytes -= static_cast<int64_t>(size);
        count(size);
        return block;
      }
    }
    void* block = get(size);
    if (!block) {
      clear();
      block = get(size);
    }
    if (block) {
      std::lock_guard<std::mutex> lock(mutex_);
      count(size);
    }
    return block;
  }

  void give(void* block, size_t bytes) {
    const size_t size = rounded(bytes);
    std::lock_guard<std::mutex> lock(mutex_);
    stats_.live_bytes -= static_cast<int64_t>(size);
    --stats_.live_blocks;
    if (size > kCacheLimit) {
      put(block, size);
      return;
    }
    while (stats_.cached_bytes + static_cast<int64_t>(size) > static_cast<int64_t>(kCacheLimit)) evict_oldest();
    free_.emplace(size, Block{block, ++clock_});
    stats_.cached_bytes += static_cast<int64_t>(size);
  }

  void clear() {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& [size, block] : free_) put(block.pages, size);
    free_.clear();
    stats_.cached_bytes = 0;
  }

  MemoryStats stats() {
    std::lock_guard<std::mutex> lock(mutex_);
    return stats_;
  }

  void reset() {
    std::lock_guard<std::mutex> lock(mutex_);
    stats_.peak_bytes = stats_.live_bytes;
  }

 private:
  struct Block {
    void* pages;
    uint64_t freed_at;
  };

  void evict_oldest() {
    const auto oldest = std::min_element(free_.begin(), free_.end(), [](const auto& a, const auto& b) {
      return a.second.freed_at < b.second.freed_at;
    });
    put(oldest->second.pages, oldest->first);
    stats_.cached_bytes -= static_cast<int64_t>(oldest->first);
    free_.erase(oldest);
  }

  static void* get(size_t size) { return size < kLarge ? std::aligned_alloc(kAlign, size) : map_pages(size); }
  static void put(void* block, size_t size) {
    if (size < kLarge) {
      std::free(block);
    } else {
      unmap_pages(block, size);
    }
  }
  void count(size_t size) {
    stats_.live_bytes += static_cast<int64_t>(size);
    stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.live_bytes);
    ++stats_.live_blocks;
  }

  std::mutex mutex_;
  std::multimap<size_t, Block> free_;
  uint64_t clock_ = 0;
  MemoryStats stats_{};
};

}  // namespace

void* allocate(size_t bytes) { return Cache::instance().take(std::max<size_t>(bytes, 1)); }
void release(void* pointer, size_t bytes) { Cache::instance().give(pointer, std::max<size_t>(bytes, 1)); }
void empty_cache() { Cache::instance().clear(); }
MemoryStats memory_stats() { return Cache::instance().stats(); }
void reset_peak() { Cache::instance().reset(); }

}  // namespace osc
