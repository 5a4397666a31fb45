#include "addon.h"

#include <string>

#include "../backend/devices.h"
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
                        InstanceMethod("copy", &Addon::copy), InstanceMethod("kernels", &Addon::kernels),
                        InstanceMethod("setArguments", &Addon::set_arguments), InstanceMethod("openDevice", &Addon::open_device),
                        InstanceMethod("deviceInfo", &Addon::device_info),
                        InstanceMethod("memoryStats", &Addon::memory_statistics),
                        InstanceMethod("setThreads", &Addon::set_threads)});
  // Runs before the environment goes (also on worker.terminate()): no task may outlive it.
  env.AddCleanupHook([](Addon* addon) { addon->stop(); }, this);
}

Addon::~Addon() = default;

// Queues may wait for each other: all are told before any is joined.
void Addon::stop() {
  for (Lane& lane : lanes_) {
    if (lane.queue) lane.queue->request_stop();
  }
  for (Lane& lane : lanes_) {
    if (lane.queue) lane.queue->stop();
    lane.queue.reset();
  }
}

Addon::Lane& Addon::lane(Napi::Env env, Napi::Value device) {
  const uint32_t index = device.As<Napi::Number>().Uint32Value();
  if (index >= std::size(kDeviceNames)) throw Napi::TypeError::New(env, "no device has this number");
  Lane& lane = lanes_[index];
  if (!lane.device) lane.device = find_device(kDeviceNames[index]);
  if (!lane.device) throw status_error(env, fail(OSC_DEVICE, 0, "device %s is not open", kDeviceNames[index]), "run");
  if (!lane.queue) lane.queue = std::make_unique<Queue>(env, lane.device->table->memory);
  return lane;
}

Packed Addon::packed(const Napi::CallbackInfo& info, size_t first_owner) const {
  return {numbers_, number_count_, &info, first_owner};
}

Napi::Value Addon::set_arguments(const Napi::CallbackInfo& info) {
  const auto array = info[0].As<Napi::Float64Array>();
  arguments_ = Napi::Persistent(array.As<Napi::Object>());
  numbers_ = array.Data();
  number_count_ = array.ElementLength();
  return info.Env().Undefined();
}

Napi::Value Addon::kernels(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Array kernels = Napi::Array::New(env);
  for (const KernelSignature& signature : kernel_signatures()) {
    const Napi::Array fields = Napi::Array::New(env);
    for (const Field& field : signature.fields) {
      if (field.kind == FieldKind::ret_i64 || field.kind == FieldKind::ret_f64) continue;
      const Napi::Object one = Napi::Object::New(env);
      one.Set("name", field.js_name);
      one.Set("kind", field.kind == FieldKind::f64 ? "number" : field.kind == FieldKind::i64 ? "integer"
                      : field.kind == FieldKind::opt ? "optional" : "tensor");
      fields.Set(fields.Length(), one);
    }
    const Napi::Object kernel = Napi::Object::New(env);
    kernel.Set("name", signature.name);
    kernel.Set("fields", fields);
    kernels.Set(kernels.Length(), kernel);
  }
  return kernels;
}

std::shared_ptr<Task> Addon::make_task(const Napi::CallbackInfo& info, const Lane& lane, size_t first_owner) {
  const Napi::Env env = info.Env();
  const uint32_t index = info[0].As<Napi::Number>().Uint32Value();
  const std::vector<KernelSignature>& signatures = kernel_signatures();
  if (index >= signatures.size()) throw Napi::TypeError::New(env, "no kernel has this number");
  const KernelSignature& signature = signatures[index];
  const OscKernelTable& table = *lane.device->table;
  if (!table.kernels[index].run) {
    throw status_error(env, fail(OSC_UNSUPPORTED, 0, "device %s has no kernel %s: move its tensors to another device",
                                 kDeviceNames[&lane - lanes_], signature.name), signature.name);
  }
  auto task = std::make_shared<Task>(Arguments(signature, packed(info, first_owner), table.memory));
  task->kernel = signature.name;
  task->run = table.kernels[index].run;
  return task;
}

Napi::Value Addon::run(const Napi::CallbackInfo& info) {
  Lane& to = lane(info.Env(), info[1]);
  auto task = make_task(info, to, 4);
  if (info[2].IsObject()) task->cancel = CancelToken::Unwrap(info[2].As<Napi::Object>())->flag();
  if (info[3].IsFunction()) task->on_progress = Napi::Persistent(info[3].As<Napi::Function>());
  return to.queue->submit(info.Env(), std::move(task));
}

Napi::Value Addon::run_sync(const Napi::CallbackInfo& info) {
  Lane& to = lane(info.Env(), info[1]);
  return to.queue->run(info.Env(), make_task(info, to, 2));
}

Napi::Value Addon::enqueue(const Napi::CallbackInfo& info) {
  Lane& to = lane(info.Env(), info[1]);
  to.queue->enqueue(info.Env(), make_task(info, to, 2));
  return info.Env().Undefined();
}

Napi::Value Addon::copy(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Lane &from = lane(env, info[0]), &to = lane(env, info[1]);
  static const auto index = static_cast<size_t>(kernel_index("convert"));  // its fields are those of a copy
  auto task = std::make_shared<Task>(Arguments::anywhere(kernel_signatures()[index], packed(info, 2)));
  task->kernel = "copy";
  task->from = from.device->table->memory;
  task->to = to.device->table->memory;
  from.queue->copy(env, std::move(task), *to.queue);
  return env.Undefined();
}

namespace {

Napi::Object describe(Napi::Env env, const Device& device) {
  const Napi::Object facts = Napi::Object::New(env);
  facts.Set("processor", device.info.name);
  facts.Set("versions", device.info.versions);
  facts.Set("build", device.table->build);
  facts.Set("totalBytes", Napi::Number::New(env, static_cast<double>(device.info.total_bytes)));
  const Napi::Array missing = Napi::Array::New(env);
  for (uint32_t i = 0; i < device.table->kernel_count; ++i) {
    if (!device.table->kernels[i].run) missing.Set(missing.Length(), device.table->kernels[i].name);
  }
  facts.Set("missingKernels", missing);
  return facts;
}

}  // namespace

Napi::Value Addon::open_device(const Napi::CallbackInfo& info) {
  const std::string name = info[0].As<Napi::String>(), path = info[1].As<Napi::String>();
  const Device* device = nullptr;
  const Status status = osc::open_device(name.c_str(), path.c_str(), &device);
  if (status.code != OSC_OK) throw status_error(info.Env(), status, "open");
  return describe(info.Env(), *device);
}

Napi::Value Addon::device_info(const Napi::CallbackInfo& info) {
  const std::string name = info[0].As<Napi::String>();
  const Device* device = find_device(name.c_str());
  return device ? describe(info.Env(), *device) : info.Env().Undefined();
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
  const bool reset = info[0].IsBoolean() && info[0].As<Napi::Boolean>().Value();
  MemoryStats stats{};
  if (const OscDevice* memory = info[1].IsString() ? memory_of(env, info[1].As<Napi::String>()) : nullptr) {
    OscMemoryStatistics device{};
    memory->statistics(&device, reset);
    stats = {device.live_bytes, device.peak_bytes, device.cached_bytes, device.live_blocks};
  } else {
    if (reset) reset_peak();
    stats = memory_stats();
  }
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
