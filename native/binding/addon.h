// The addon's state: one object per JavaScript environment, no mutable globals.
#pragma once
#include <napi.h>

#include <iterator>
#include <memory>
#include <string>

#include "../backend/devices.h"
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
  // A device as this environment uses it.
  struct Lane {
    const Device* device = nullptr;
    std::unique_ptr<Queue> queue;  // made by the first task
  };
  // Devices go by their place in kDeviceNames, kernels by theirs in kernels.def.
  Lane& lane(Napi::Env env, Napi::Value device);
  Packed packed(const Napi::CallbackInfo& info, size_t first_owner) const;
  std::shared_ptr<Task> make_task(const Napi::CallbackInfo& info, const Lane& lane, size_t first_owner);
  void stop();

  // The numbers that describe the tensors are read from the array given to set_arguments; see Packed.
  Napi::Value set_arguments(const Napi::CallbackInfo& info);  // (Float64Array), kept
  Napi::Value kernels(const Napi::CallbackInfo& info);        // () -> [{ name, fields: [{ name, kind }] }]
  Napi::Value run(const Napi::CallbackInfo& info);        // (kernel, device, token | undefined, onProgress | undefined, ...owners) -> Promise<results>
  Napi::Value run_sync(const Napi::CallbackInfo& info);   // (kernel, device, ...owners) -> results
  Napi::Value enqueue(const Napi::CallbackInfo& info);    // (kernel, device, ...owners)
  Napi::Value copy(const Napi::CallbackInfo& info);        // (from, to, x, y)
  Napi::Value open_device(const Napi::CallbackInfo& info); // (device, path) -> what it is; throws with the reason
  Napi::Value device_info(const Napi::CallbackInfo& info); // (device) -> what it is, or undefined when it is not open
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value memory_statistics(const Napi::CallbackInfo& info);
  Napi::Value set_threads(const Napi::CallbackInfo& info);

  static constexpr const char* kDeviceNames[] = {"cpu", "emulator", "cuda"};
  Lane lanes_[std::size(kDeviceNames)];
  Napi::ObjectReference arguments_;  // keeps numbers_ alive
  const double* numbers_ = nullptr;
  size_t number_count_ = 0;
};

}  // namespace osc
