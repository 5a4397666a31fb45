// The addon's state: one object per JavaScript environment, no mutable globals.
#pragma once
#include <napi.h>

#include <map>
#include <memory>
#include <string>

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
  Queue& queue(Napi::Env env, const std::string& device);
  void stop();

  Napi::Value run(const Napi::CallbackInfo& info);        // (kernel, device, args, token?, onProgress?) -> Promise<results>
  Napi::Value run_sync(const Napi::CallbackInfo& info);   // the same, blocking
  Napi::Value enqueue(const Napi::CallbackInfo& info);    // (kernel, device, args)
  Napi::Value copy(const Napi::CallbackInfo& info);        // (from, to, { x, y })
  Napi::Value open_device(const Napi::CallbackInfo& info); // (device, path) -> what it is; throws with the reason
  Napi::Value device_info(const Napi::CallbackInfo& info); // (device) -> what it is, or undefined when it is not open
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value memory_statistics(const Napi::CallbackInfo& info);
  Napi::Value set_threads(const Napi::CallbackInfo& info);

  std::map<std::string, std::unique_ptr<Queue>> queues_;  // by device; each made by its first task
};

}  // namespace osc
