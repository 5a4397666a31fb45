// The addon's state: one object per JavaScript environment, no mutable globals.
#pragma once
#include <napi.h>

#include <memory>

#include "queue.h"

namespace osc {

// A flag that JavaScript sets and kernels poll.
class CancelToken : public Napi::ObjectWrap<CancelToken> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit CancelToken(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CancelToken>(info) {}
  const std::shared_ptr<std::atomic<int32_t>>& flag() const { return flag_; }

 private:
  void cancel(const Napi::CallbackInfo&) { flag_->store(1); }
  std::shared_ptr<std::atomic<int32_t>> flag_ = std::make_shared<std::atomic<int32_t>>(0);
};

class Addon : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports);
  ~Addon();

 private:
  std::shared_ptr<Task> make_task(const Napi::CallbackInfo& info);
  Queue& queue(Napi::Env env);

  Napi::Value run(const Napi::CallbackInfo& info);        // (kernel, device, args, token?, onProgress?) -> Promise<results>
  Napi::Value run_sync(const Napi::CallbackInfo& info);   // the same, blocking
  Napi::Value enqueue(const Napi::CallbackInfo& info);    // (kernel, device, args)
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value memory_statistics(const Napi::CallbackInfo& info);
  Napi::Value set_threads(const Napi::CallbackInfo& info);

  std::unique_ptr<Queue> queue_;  // of the CPU; made by the first task
};

}  // namespace osc
