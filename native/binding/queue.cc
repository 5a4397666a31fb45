#include "queue.h"

#include <chrono>

#include "../kernels.h"
#include "errors.h"

namespace osc {
namespace {

constexpr int64_t kMaxQueuedBytes = int64_t{1} << 30;  // enqueue() blocks beyond this
constexpr int64_t kInPlaceBytes = 32 << 10;            // smaller work on an empty queue is done at once (under 30 us)
constexpr int64_t kProgressEveryMs = 50;

int64_t now_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

thread_local Queue* current_queue = nullptr;

// x to y between two memories; through the host when neither is the host's.
Status copy_tensors(Task& task) {
  const auto& args = *static_cast<ConvertArgs*>(task.arguments.data());
  const int64_t bytes = size_of(args.x) * item_bytes(args.x.dtype);
  if (bytes == 0) return ok();
  if (!task.from) return task.to->copy_in(args.y.data, args.x.data, bytes);
  if (!task.to) return task.from->copy_out(args.y.data, args.x.data, bytes);
  const Buffer<uint8_t> host(bytes);
  if (!host) return fail(OSC_OUT_OF_MEMORY, bytes, "no memory for a copy through the host");
  OSC_TRY(task.from->copy_out(host.get(), args.x.data, bytes));
  return task.to->copy_in(args.y.data, host.get(), bytes);
}

}  // namespace

struct Queue::Message {
  std::shared_ptr<Task> task;
  bool done;
};

Queue::Queue(Napi::Env env, const OscDevice* memory) : memory_(memory) {
  napi_value name;
  napi_create_string_utf8(env, "osculate.queue", NAPI_AUTO_LENGTH, &name);
  const napi_status status = napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this,
                                                             on_message, &notify_);
  if (status != napi_ok) throw Napi::Error::New(env, "cannot create the completion channel");
  napi_unref_threadsafe_function(env, notify_);
  thread_ = std::thread([this] { work(); });
}

Queue::~Queue() { stop(); }

void Queue::request_stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
    if (running_ && running_->cancel) running_->cancel->store(1);
    items_.clear();
  }
  wake_.notify_all();
  finished_.notify_all();
}

void Queue::stop() {
  request_stop();
  if (thread_.joinable()) thread_.join();
  if (notify_) napi_release_threadsafe_function(notify_, napi_tsfn_abort);
  notify_ = nullptr;
}

bool Queue::idle() {
  std::lock_guard<std::mutex> lock(mutex_);
  return items_.empty() && !running_ && !waiting_;
}

void Queue::push(std::shared_ptr<Task> task) {
  if (!task->cancel) task->cancel = std::make_shared<std::atomic<int32_t>>(0);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    queued_bytes_ += task->arguments.tensor_bytes();
    items_.push_back({std::move(task), nullptr, nullptr});
  }
  wake_.notify_one();
}

void Queue::push_wait(Queue& other, std::shared_ptr<Task> task) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    items_.push_back({nullptr, &other, std::move(task)});
  }
  wake_.notify_one();
}

void Queue::wait_until_finished(const std::shared_ptr<Task>& task) {
  std::unique_lock<std::mutex> lock(mutex_);
  finished_.wait(lock, [&] { return task->finished || stopping_; });
}

Napi::Promise Queue::submit(Napi::Env env, std::shared_ptr<Task> task) {
  task->notifies = true;
  task->awaited = true;
  task->deferred = std::make_unique<Napi::Promise::Deferred>(env);
  const Napi::Promise promise = task->deferred->Promise();
  if (pending_promises_++ == 0) napi_ref_threadsafe_function(env, notify_);
  push(std::move(task));
  return promise;
}

Napi::Value Queue::run(Napi::Env env, std::shared_ptr<Task> task) {
  task->awaited = true;
  if (idle()) {
    execute(*task);  // nothing is ahead of it: no reason to change threads
  } else {
    push(task);
    wait_until_finished(task);
  }
  task->arguments.release_references();
  if (task->status.code != OSC_OK) throw status_error(env, task->status, task->kernel);
  return task->arguments.results(env);
}

void Queue::enqueue(Napi::Env env, std::shared_ptr<Task> task) {
  task->marks_outputs = true;
  if (task->arguments.tensor_bytes() <= kInPlaceBytes && idle()) {
    execute(*task);
    task->arguments.release_references();
    return;
  }
  make_room();
  // Nobody waits for it: only borrowed arrays must be let go on the JavaScript thread.
  task->notifies = task->arguments.holds_references();
  if (task->notifies && pending_promises_++ == 0) napi_ref_threadsafe_function(env, notify_);
  push(std::move(task));
}

// The bound keeps a loop that never waits from filling memory. A task alone is let through whatever its size.
void Queue::make_room() {
  std::unique_lock<std::mutex> lock(mutex_);
  finished_.wait(lock, [&] { return queued_bytes_ < kMaxQueuedBytes; });
}

void Queue::copy(Napi::Env env, std::shared_ptr<Task> task, Queue& target) {
  task->marks_outputs = true;
  if (task->arguments.tensor_bytes() <= kInPlaceBytes && idle() && target.idle()) {
    execute(*task);
    task->arguments.release_references();
    return;
  }
  make_room();
  task->notifies = task->arguments.holds_references();
  if (task->notifies && pending_promises_++ == 0) napi_ref_threadsafe_function(env, notify_);
  push(task);
  target.push_wait(*this, std::move(task));
}

Status Queue::run_kernel(Task& task) {
  const OscContext context{task.cancel.get(), on_progress, &task};
  if (!memory_) return task.run(task.arguments.data(), &context);
  OSC_TRY(task.arguments.stage());
  OSC_TRY(task.run(task.arguments.data(), &context));
  if (task.arguments.reads_back()) return task.arguments.unstage();
  return task.awaited ? memory_->synchronize() : ok();
}

void Queue::execute(Task& task) {
  if (const Status* failure = task.arguments.input_failure()) {
    task.status = *failure;
  } else if (task.cancel && task.cancel->load()) {
    task.status = aborted();
  } else {
    task.status = task.run ? run_kernel(task) : copy_tensors(task);
  }
  if (task.marks_outputs && task.status.code != OSC_OK) {
    char text[sizeof task.status.message];
    std::snprintf(text, sizeof text, "%s: %.150s", task.kernel, task.status.message);
    std::snprintf(task.status.message, sizeof task.status.message, "%s", text);
    task.arguments.fail_outputs(task.status);
  }
  task.arguments.release_blocks();
}

void Queue::work() {
  current_queue = this;
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !items_.empty(); });
    if (stopping_) return;
    const Item item = std::move(items_.front());
    items_.pop_front();
    if (!item.task) {
      waiting_ = true;
      lock.unlock();
      item.other->wait_until_finished(item.awaited);
      lock.lock();
      waiting_ = false;
      finished_.notify_all();
      continue;
    }
    running_ = item.task;
    lock.unlock();
    execute(*running_);
    lock.lock();
    std::shared_ptr<Task> task = std::move(running_);
    running_ = nullptr;
    task->finished = true;
    queued_bytes_ -= task->arguments.tensor_bytes();
    finished_.notify_all();
    if (stopping_) {
      items_.push_back({std::move(task), nullptr, nullptr});  // its references are dropped by the JavaScript thread
      return;
    }
    if (!task->notifies) continue;  // somebody blocks on it in run(), or nobody asks
    auto* message = new Message{std::move(task), true};
    if (napi_call_threadsafe_function(notify_, message, napi_tsfn_nonblocking) != napi_ok) {
      items_.push_back({std::move(message->task), nullptr, nullptr});  // the environment is closing
      delete message;
      return;
    }
  }
}

void Queue::on_progress(void* data, double done, double total) {
  auto& task = *static_cast<Task*>(data);
  if (task.on_progress.IsEmpty() || !current_queue) return;
  task.progress_done.store(done);
  task.progress_total.store(total);
  const int64_t now = now_ms();
  int64_t sent = task.progress_sent_ms.load();
  if (now - sent < kProgressEveryMs || !task.progress_sent_ms.compare_exchange_strong(sent, now)) return;
  auto* message = new Message{current_queue->running_, false};
  if (napi_call_threadsafe_function(current_queue->notify_, message, napi_tsfn_nonblocking) != napi_ok) delete message;
}

void Queue::settle(Napi::Env env, Task& task) {
  if (--pending_promises_ == 0) napi_unref_threadsafe_function(env, notify_);
  task.arguments.release_references();
  task.on_progress.Reset();
  if (!task.deferred) return;
  if (task.status.code == OSC_OK) {
    task.deferred->Resolve(task.arguments.results(env));
  } else {
    task.deferred->Reject(status_error(env, task.status, task.kernel).Value());
  }
}

void Queue::on_message(napi_env raw, napi_value, void* context, void* data) {
  const std::unique_ptr<Message> message(static_cast<Message*>(data));
  if (!raw) return;  // closing
  const Napi::Env env(raw);
  const Napi::HandleScope scope(env);
  Task& task = *message->task;
  try {
    if (message->done) {
      static_cast<Queue*>(context)->settle(env, task);
    } else if (!task.on_progress.IsEmpty()) {
      task.on_progress.Call({Napi::Number::New(env, task.progress_done.load()),
                             Napi::Number::New(env, task.progress_total.load())});
    }
  } catch (const Napi::Error& error) {  // the user's progress callback threw: lib/binding wraps it, so this is a last resort
    error.ThrowAsJavaScriptException();
  }
}

}  // namespace osc
