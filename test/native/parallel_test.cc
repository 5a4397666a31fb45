#include "core/parallel.h"

#include <doctest/doctest.h>

#include <atomic>
#include <new>
#include <thread>
#include <vector>

using namespace osc;

namespace {

const Context kPlain{nullptr, nullptr, nullptr};

struct Threads {
  explicit Threads(int count) : before(thread_count()) { set_thread_count(count); }
  ~Threads() { set_thread_count(before); }
  int before;
};

}  // namespace

TEST_CASE("every tile runs once, on any number of threads") {
  for (int threads : {1, 2, 5}) {
    const Threads scope(threads);
    for (int64_t tiles : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(tiles));
      CHECK(parallel_for(tiles, kPlain, [&](int64_t tile) { runs[static_cast<size_t>(tile)]++; }));
      for (const auto& count : runs) REQUIRE(count == 1);
    }
  }
}

TEST_CASE("a call from inside a tile runs there") {
  const Threads scope(3);
  std::atomic<int> inner{0};
  CHECK(parallel_for(8, kPlain, [&](int64_t) { parallel_for(5, kPlain, [&](int64_t) { inner++; }); }));
  CHECK(inner == 40);
}

TEST_CASE("callers on several threads do not disturb each other") {
  const Threads scope(3);
  std::vector<std::thread> callers;
  std::atomic<int> total{0};
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int k = 0; k < 50; ++k) parallel_for(17, kPlain, [&](int64_t) { total++; });
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(total == 4 * 50 * 17);
}

TEST_CASE("a cancelled context stops at the next tile and says so") {
  for (int threads : {1, 3}) {
    const Threads scope(threads);
    std::atomic<int32_t> cancel{0};
    std::atomic<int> runs{0};
    const Context context{&cancel, nullptr, nullptr};
    CHECK_FALSE(parallel_for(1000, context, [&](int64_t) {
      runs++;
      cancel = 1;
    }));
    CHECK(runs <= threads);
    CHECK_FALSE(parallel_for(0, context, [](int64_t) {}));
  }
}

TEST_CASE("what a tile throws reaches the caller, and the pool goes on") {
  for (const int threads : {1, 2, 4}) {
    const Threads guard(threads);
    for (const int64_t bad : {0, 37, 63}) {
      CHECK_THROWS_AS(parallel_for(64, kPlain, [&](int64_t tile) {
        if (tile == bad) throw std::bad_alloc();
      }), std::bad_alloc);
    }
    std::atomic<int> total{0};
    CHECK(parallel_for(64, kPlain, [&](int64_t) { total++; }));
    CHECK(total.load() == 64);
  }
}
