#include "parallel.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "platform/cpu.h"

namespace osc {
namespace {

thread_local bool inside_tile = false;

// Offers the processor to others for at most 100 microseconds before the caller blocks. Waking a processor that fell asleep
// costs as much as a small tile; on a busy machine the yield gives way at once, so nobody spins at another's expense.
template <class Ready>
void yield_until(Ready ready) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::microseconds(100);
  while (!ready() && Clock::now() < end) std::this_thread::yield();
}

class Pool {
 public:
  // Never destroyed: worker threads may still wait on it while the process exits.
  static Pool& instance() {
    static Pool* pool = new Pool;
    return *pool;
  }

  int threads() const { return threads_.load(std::memory_order_relaxed); }
  void set_threads(int count) { threads_.store(std::clamp(count, 1, 1024), std::memory_order_relaxed); }

  bool run(int64_t tiles, detail::TileFunction function, void* closure, const Context& context) {
    const int helpers = static_cast<int>(std::min<int64_t>(threads(), tiles)) - 1;
    if (helpers < 1 || inside_tile) return run_serial(tiles, function, closure, context);
    std::unique_lock<std::mutex> turn(turn_, std::try_to_lock);
    if (!turn.owns_lock()) return run_serial(tiles, function, closure, context);
    Job job{tiles, function, closure, &context};
    {
      std::lock_guard<std::mutex> lock(mutex_);
      while (static_cast<int>(workers_.size()) < helpers) {
        try {
          workers_.emplace_back([this, id = static_cast<int>(workers_.size())] { work(id); });
        } catch (...) {  // no more threads to be had: the caller does the work
          break;
        }
      }
      job_ = &job;
      wanted_ = helpers;
      announced_.store(++generation_, std::memory_order_release);
    }
    wake_.notify_all();
    drain(job);
    yield_until([&] { return job.failed.load() || job.finished.load(std::memory_order_acquire) == tiles; });
    std::unique_lock<std::mutex> lock(mutex_);
    job_ = nullptr;  // late workers find nothing to do
    done_.wait(lock, [this] { return active_ == 0; });
    if (job.exception) std::rethrow_exception(job.exception);
    return job.finished.load(std::memory_order_relaxed) == tiles;
  }

 private:
  struct Job {
    int64_t tiles;
    detail::TileFunction function;
    void* closure;
    const Context* context;
    std::atomic<int64_t> next{0};
    std::atomic<int64_t> finished{0};
    std::atomic<bool> failed{false};
    std::exception_ptr exception;  // the first one, written by whoever set `failed`
  };

  Pool() {
    int count = available_processors();
    if (const char* text = std::getenv("OSCULATE_THREADS")) {
      const int asked = std::atoi(text);
      if (asked > 0) count = asked;
    }
    set_threads(count);
  }

  static bool run_serial(int64_t tiles, detail::TileFunction function, void* closure, const Context& context) {
    for (int64_t tile = 0; tile < tiles; ++tile) {
      if (cancelled(context)) return false;
      function(closure, tile);
    }
    return true;
  }

  static void drain(Job& job) {
    inside_tile = true;
    for (;;) {
      if (job.failed.load(std::memory_order_relaxed) || cancelled(*job.context)) break;
      const int64_t tile = job.next.fetch_add(1, std::memory_order_relaxed);
      if (tile >= job.tiles) break;
      try {
        job.function(job.closure, tile);
      } catch (...) {  // out of memory on a worker must reach the caller, not end the process
        if (!job.failed.exchange(true)) job.exception = std::current_exception();
        break;
      }
      job.finished.fetch_add(1, std::memory_order_release);
    }
    inside_tile = false;
  }

  void work(int id) {
    uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      if (generation_ == seen) {
        lock.unlock();
        yield_until([&] { return announced_.load(std::memory_order_acquire) != seen; });
        lock.lock();
      }
      wake_.wait(lock, [&] { return generation_ != seen; });
      seen = generation_;
      if (!job_ || id >= wanted_) continue;
      Job& job = *job_;
      ++active_;
      lock.unlock();
      drain(job);
      lock.lock();
      if (--active_ == 0) done_.notify_one();
    }
  }

  std::atomic<int> threads_{1};
  std::mutex turn_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::vector<std::thread> workers_;
  Job* job_ = nullptr;
  int wanted_ = 0;
  int active_ = 0;
  uint64_t generation_ = 0;
  std::atomic<uint64_t> announced_{0};  // generation_, readable without the mutex
};

}  // namespace

int thread_count() { return Pool::instance().threads(); }
void set_thread_count(int count) { Pool::instance().set_threads(count); }

bool detail::run_tiles(int64_t tiles, TileFunction function, void* closure, const Context& context) {
  if (tiles <= 0) return !cancelled(context);
  return Pool::instance().run(tiles, function, closure, context);
}

}  // namespace osc
