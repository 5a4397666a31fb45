#include "addon.h"

#include <string>

#include "../backend/kernel_table.h"
#include "../core/blas.h"
#include "../core/parallel.h"
#include "../core/platform/cpu.h"
#include "errors.h"

#ifndef OSC_VERSION
#define OSC_VERSION "0.0.0"
#endif

namespace osc {

Napi::Function CancelToken::define(Napi::Env env) {
  return DefineClass(env, "CancelToken", {InstanceMethod<&CancelToken::cancel>("cancel")});
}

Addon::Addon(Napi::Env env, Napi::Object exports) {
  initialize_blas();
  exports.Set("version", Napi::String::New(env, OSC_VERSION));
  exports.Set("Storage", Storage::define(env));
  exports.Set("CancelToken", CancelToken::define(env));
  DefineAddon(exports, {InstanceMethod("run", &Addon::run), InstanceMethod("runSync", &Addon::run_sync),
                        InstanceMethod("enqueue", &Addon::enqueue), InstanceMethod("info", &Addon::info),
                        InstanceMethod("memoryStats", &Addon::memory_statistics),
                        InstanceMethod("setThreads", &Addon::set_threads)});
  // Runs before the environment goes (also on worker.terminate()): no task may outlive it.
  env.AddCleanupHook([](Addon* addon) { addon->queue_.reset(); }, this);
}

Addon::~Addon() = default;

Queue& Addon::queue(Napi::Env env) {
  if (!queue_) queue_ = std::make_unique<Queue>(env);
  return *queue_;
}

std::shared_ptr<Task> Addon::make_task(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::string name = info[0].As<Napi::String>();
  const std::string device = info[1].As<Napi::String>();
  const int index = kernel_index(name.c_str());
  if (index < 0) throw Napi::TypeError::New(env, "no kernel is called " + name);
  const KernelSignature& signature = kernel_signatures()[static_cast<size_t>(index)];
  const char* reason = "";
  const OscKernelTable* table = device_table(device.c_str(), &reason);
  if (!table || !table->kernels[index].run) {
    throw status_error(env, fail(OSC_UNSUPPORTED, 0, "%s is not available on device %s: %s", name.c_str(),
                                 device.c_str(), table ? "no such kernel there" : reason), signature.name);
  }
  auto task = std::make_shared<Task>(signature, info[2].As<Napi::Object>());
  task->kernel = signature.name;
  task->run = table->kernels[index].run;
  if (info[3].IsObject()) task->cancel = CancelToken::Unwrap(info[3].As<Napi::Object>())->flag();
  if (info[4].IsFunction()) task->on_progress = Napi::Persistent(info[4].As<Napi::Function>());
  return task;
}

Napi::Value Addon::run(const Napi::CallbackInfo& info) { return queue(info.Env()).submit(info.Env(), make_task(info)); }
Napi::Value Addon::run_sync(const Napi::CallbackInfo& info) { return queue(info.Env()).run(info.Env(), make_task(info)); }

Napi::Value Addon::enqueue(const Napi::CallbackInfo& info) {
  queue(info.Env()).enqueue(info.Env(), make_task(info));
  return info.Env().Undefined();
}

Napi::Value Addon::info(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object facts = Napi::Object::New(env);
  facts.Set("cpuPath", cpu_path_name(cpu_path()));
  facts.Set("cpuFeatures", cpu_features());
  facts.Set("blas", blas_description());
  facts.Set("threads", Napi::Number::New(env, thread_count()));
  facts.Set("tableVersion", Napi::Number::New(env, OSC_TABLE_VERSION));
  const Napi::Array kernels = Napi::Array::New(env);
  for (const KernelSignature& signature : kernel_signatures()) kernels.Set(kernels.Length(), signature.name);
  facts.Set("kernels", kernels);
  return facts;
}

Napi::Value Addon::memory_statistics(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (info[0].IsBoolean() && info[0].As<Napi::Boolean>().Value()) reset_peak();
  const MemoryStats stats = memory_stats();
  const Napi::Object facts = Napi::Object::New(env);
  facts.Set("liveBytes", Napi::Number::New(env, static_cast<double>(stats.live_bytes)));
  facts.Set("peakBytes", Napi::Number::New(env, static_cast<double>(stats.peak_bytes)));
  facts.Set("cachedBytes", Napi::Number::New(env, static_cast<double>(stats.cached_bytes)));
  facts.Set("liveBlocks", Napi::Number::New(env, static_cast<double>(stats.live_blocks)));
  return facts;
}

Napi::Value Addon::set_threads(const Napi::CallbackInfo& info) {
  set_thread_count(info[0].As<Napi::Number>().Int32Value());
  return info.Env().Undefined();
}

}  // namespace osc

using OsculateAddon = osc::Addon;
NODE_API_ADDON(OsculateAddon)
