#include "core/memory.h"

#include <doctest/doctest.h>

#include <cstring>
#include <thread>
#include <vector>

using namespace osc;

TEST_CASE("blocks are aligned to 64 bytes, writable to the end, and counted") {
  const MemoryStats before = memory_stats();
  for (size_t bytes : {size_t{1}, size_t{63}, size_t{64}, size_t{4097}, size_t{1} << 20, size_t{5} << 20}) {
    void* block = allocate(bytes);
    REQUIRE(block != nullptr);
    CHECK(reinterpret_cast<uintptr_t>(block) % 64 == 0);
    std::memset(block, 0xAB, bytes);
    CHECK(memory_stats().live_blocks == before.live_blocks + 1);
    CHECK(memory_stats().live_bytes >= before.live_bytes + static_cast<int64_t>(bytes));
    release(block, bytes);
  }
  CHECK(memory_stats().live_blocks == before.live_blocks);
  CHECK(memory_stats().live_bytes == before.live_bytes);
}

TEST_CASE("freed blocks are kept until the cache is emptied") {
  empty_cache();
  release(allocate(100000), 100000);
  CHECK(memory_stats().cached_bytes > 0);
  empty_cache();
  CHECK(memory_stats().cached_bytes == 0);
}

TEST_CASE("the peak starts anew on request") {
  release(allocate(1 << 20), 1 << 20);
  reset_peak();
  CHECK(memory_stats().peak_bytes == memory_stats().live_bytes);
  const Buffer<double> buffer(1000);
  CHECK(memory_stats().peak_bytes >= 8000);
}

TEST_CASE("more than the system has is a null pointer, not an exception") {
  const size_t bytes = size_t{1} << 60;
  CHECK(allocate(bytes) == nullptr);
  CHECK_FALSE(Buffer<double>(int64_t{1} << 57));
}

TEST_CASE("threads may allocate and free at once") {
  const MemoryStats before = memory_stats();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 1; i < 200; ++i) {
        const Buffer<uint8_t> buffer(i * 37 + t);
        buffer[i * 37 + t - 1] = 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(memory_stats().live_bytes == before.live_bytes);
}
