#include "storage.h"

#include <cstring>

#include "../backend/devices.h"
#include "addon.h"
#include "errors.h"

namespace osc {

ArrayBytes array_bytes(Napi::TypedArray array) {
  ArrayBytes view;
  // Not array.ArrayBuffer(): it refuses SharedArrayBuffer.
  if (napi_get_typedarray_info(array.Env(), array, nullptr, nullptr, &view.data, nullptr, nullptr) != napi_ok) {
    throw Napi::TypeError::New(array.Env(), "expected a typed array");
  }
  view.bytes = array.ByteLength();
  return view;
}

const OscDevice* memory_of(Napi::Env env, const std::string& device) {
  const Device* found = find_device(device.c_str());
  if (!found) throw status_error(env, fail(OSC_DEVICE, 0, "device %s is not open", device.c_str()), "allocate");
  return found->table->memory;
}

Napi::Function Storage::define(Napi::Env env) {
  return DefineClass(env, "Storage",
                     {InstanceAccessor<&Storage::byte_length>("byteLength"),
                      InstanceAccessor<&Storage::disposed>("disposed"), InstanceMethod<&Storage::set>("set"),
                      InstanceMethod<&Storage::dispose>("dispose")});
}

Storage::Storage(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Storage>(info) {
  auto block = std::make_shared<Block>();
  if (info[0].IsTypedArray()) {
    const auto array = info[0].As<Napi::TypedArray>();
    const ArrayBytes view = array_bytes(array);
    block->data = view.data;
    block->bytes = view.bytes;
    array_ = Napi::Persistent(array.As<Napi::Object>());
  } else {
    const double asked = info[0].As<Napi::Number>().DoubleValue();
    block->bytes = static_cast<size_t>(asked);
    block->owned = true;
    if (info[1].IsString()) block->memory = memory_of(info.Env(), info[1].As<Napi::String>());
    if (block->memory) {
      const Status status = block->memory->allocate(static_cast<int64_t>(block->bytes), &block->data);
      if (status.code != OSC_OK) throw status_error(info.Env(), status, "allocate");
    } else {
      block->data = allocate(block->bytes);
      if (!block->data) {
        throw status_error(info.Env(), fail(OSC_OUT_OF_MEMORY, static_cast<int64_t>(asked),
                                            "no memory for %.0f bytes", asked), "allocate");
      }
    }
    counted_ = static_cast<int64_t>(block->bytes);
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(), counted_);
  }
  block_ = std::move(block);
}

Storage::~Storage() = default;

void Storage::Finalize(Napi::BasicEnv env) {
  if (counted_) Napi::MemoryManagement::AdjustExternalMemory(env, -counted_);
  counted_ = 0;
}

Napi::Value Storage::borrowed() const { return array_.IsEmpty() ? Env().Undefined() : array_.Value(); }

Napi::Value Storage::byte_length(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), block_ ? static_cast<double>(block_->bytes) : 0.0);
}

Napi::Value Storage::disposed(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), !block_); }

// Copies a typed array in, at once: only for storage that no queued task knows yet.
Napi::Value Storage::set(const Napi::CallbackInfo& info) {
  const ArrayBytes view = array_bytes(info[0].As<Napi::TypedArray>());
  if (!block_ || view.bytes > block_->bytes) throw Napi::TypeError::New(info.Env(), "expected an array that fits");
  if (view.bytes && block_->memory) {
    const Status status = block_->memory->copy_in(block_->data, view.data, static_cast<int64_t>(view.bytes));
    if (status.code != OSC_OK) throw status_error(info.Env(), status, "copy");
  } else if (view.bytes) {
    std::memcpy(block_->data, view.data, view.bytes);
  }
  return info.Env().Undefined();
}

Napi::Value Storage::dispose(const Napi::CallbackInfo& info) {
  if (block_) {
    block_.reset();  // tasks in flight hold the block, and the array, themselves
    array_.Reset();
    if (counted_) Napi::MemoryManagement::AdjustExternalMemory(info.Env(), -counted_);
    counted_ = 0;
  }
  return info.Env().Undefined();
}

}  // namespace osc
