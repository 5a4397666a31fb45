#include "emulator/helpers.h"

#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace osc::emulator {
namespace {

// Threads wait for a job, never spin, and are never joined: the process may end while they wait.
class Helpers {
 public:
  static Helpers& instance() {
    static auto* helpers = new Helpers;
    return *helpers;
  }

  void run(int wanted, void (*part)(void*), void* data) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      while (threads_ < wanted && start_one()) ++threads_;
      part_ = part;
      data_ = data;
      open_ = wanted < threads_ ? wanted : threads_;
    }
    wake_.notify_all();
    part(data);
    std::unique_lock<std::mutex> lock(mutex_);
    open_ = 0;  // who has not begun need not
    done_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  bool start_one() {
    try {
      std::thread([this] { serve(); }).detach();
      return true;
    } catch (const std::system_error&) {
      return false;  // fewer helpers, the same result
    }
  }

  void serve() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return open_ > 0; });
      --open_;
      ++busy_;
      const auto part = part_;
      void* const data = data_;
      lock.unlock();
      part(data);
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  void (*part_)(void*) = nullptr;
  void* data_ = nullptr;
  int threads_ = 0, open_ = 0, busy_ = 0;
};

}  // namespace

void run_with_helpers(int threads, void (*part)(void*), void* data) {
  if (threads > 1) Helpers::instance().run(threads - 1, part, data);
  else part(data);
}

}  // namespace osc::emulator
