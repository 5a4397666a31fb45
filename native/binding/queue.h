// An ordered queue with a thread of its own: every device has one per JavaScript environment.
#pragma once
#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "../core/context.h"
#include "arguments.h"

namespace osc {

struct Task {
  explicit Task(Arguments given) : arguments(std::move(given)) {}

  const char* kernel = "";
  OscStatus (*run)(void*, const OscContext*) = nullptr;
  const OscDevice *from = nullptr, *to = nullptr;  // of a copy: run is null
  Arguments arguments;
  std::shared_ptr<std::atomic<int32_t>> cancel;  // set by the caller's token, or by the queue when it stops
  Status status = ok();
  bool finished = false;      // guarded by the queue's mutex
  bool notifies = false;       // the JavaScript thread is told when it ends
  bool awaited = false;        // somebody waits for its end: a device is synchronized then
  bool marks_outputs = false;  // nobody waits for this task: a failure is left on its output blocks

  // Only for tasks with a promise; used on the JavaScript thread.
  std::unique_ptr<Napi::Promise::Deferred> deferred;
  Napi::FunctionReference on_progress;

  std::atomic<double> progress_done{0}, progress_total{0};
  std::atomic<int64_t> progress_sent_ms{0};
};

class Queue {
 public:
  // memory: of the device whose work this is; null for the CPU.
  Queue(Napi::Env env, const OscDevice* memory);
  ~Queue();

  Napi::Promise submit(Napi::Env env, std::shared_ptr<Task> task);  // settles when the task ends
  Napi::Value run(Napi::Env env, std::shared_ptr<Task> task);       // blocks until then; throws on failure
  void enqueue(Napi::Env env, std::shared_ptr<Task> task);          // returns at once; blocks only when far ahead

  // Copies x to y, both contiguous, in the order of both queues: this is the queue of x, `target` that of y.
  void copy(Napi::Env env, std::shared_ptr<Task> task, Queue& target);

  // Cancels everything, waits for the running task to reach its next tile, and drops the rest.
  void stop();
  void request_stop();  // the same without waiting

 private:
  struct Message;
  // A task, or a wait for a task of another queue.
  struct Item {
    std::shared_ptr<Task> task;
    Queue* other = nullptr;
    std::shared_ptr<Task> awaited;
  };
  void push(std::shared_ptr<Task> task);
  void push_wait(Queue& other, std::shared_ptr<Task> task);
  void make_room();
  void wait_until_finished(const std::shared_ptr<Task>& task);
  bool idle();
  void work();
  void execute(Task& task);
  Status run_kernel(Task& task);
  void settle(Napi::Env env, Task& task);
  static void on_message(napi_env env, napi_value callback, void* context, void* data);
  static void on_progress(void* data, double done, double total);

  const OscDevice* const memory_;
  napi_threadsafe_function notify_ = nullptr;
  int pending_promises_ = 0;  // JavaScript thread only; keeps the event loop alive while > 0
  std::mutex mutex_;
  std::condition_variable wake_, finished_;
  std::deque<Item> items_;
  std::shared_ptr<Task> running_;
  bool waiting_ = false;  // for a task of another queue
  int64_t queued_bytes_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace osc
