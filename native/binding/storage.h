// The memory behind JavaScript tensors.
#pragma once
#include <napi.h>

#include <memory>
#include <string>

#include "../backend/kernel_table.h"
#include "../core/memory.h"
#include "../core/status.h"

namespace osc {

// A block of memory, alive as long as a tensor or a running task needs it.
struct Block {
  void* data = nullptr;
  size_t bytes = 0;
  bool owned = false;  // from an allocator; otherwise a JavaScript array that its users keep alive
  const OscDevice* memory = nullptr;  // the device it lives on; null: the host
  // Set when the task that was to fill the block failed; whoever reads the block fails with it. Touched only by the thread
  // that runs the queue's tasks at that moment.
  std::shared_ptr<Status> failure;

  Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  ~Block() {
    if (!owned || !data) return;
    if (memory) {
      memory->release(data, static_cast<int64_t>(bytes));
    } else {
      release(data, bytes);
    }
  }
};

// The memory of an open device, null for the CPU; throws when it is not open.
const OscDevice* memory_of(Napi::Env env, const std::string& device);

// Where a typed array's elements are, also when they are shared memory.
struct ArrayBytes {
  void* data = nullptr;
  size_t bytes = 0;
};
ArrayBytes array_bytes(Napi::TypedArray array);

// `new Storage(bytes, device)` owns memory; `new Storage(typedArray)` borrows it. Freed by dispose() or the garbage collector.
class Storage : public Napi::ObjectWrap<Storage> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit Storage(const Napi::CallbackInfo& info);
  ~Storage() override;

  const std::shared_ptr<Block>& block() const { return block_; }  // null after dispose()
  Napi::Value borrowed() const;                                    // the borrowed array, or undefined
  void Finalize(Napi::BasicEnv env) override;

 private:
  Napi::Value byte_length(const Napi::CallbackInfo& info);
  Napi::Value disposed(const Napi::CallbackInfo& info);
  Napi::Value set(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::shared_ptr<Block> block_;
  Napi::ObjectReference array_;
  int64_t counted_ = 0;  // bytes told to V8
};

}  // namespace osc
