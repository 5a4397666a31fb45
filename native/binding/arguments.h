// From JavaScript to a kernel's argument struct and back, by the field lists of kernels.h.
#pragma once
#include <napi.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "../core/tensor.h"
#include "storage.h"

namespace osc {

enum class FieldKind { in, opt, out, inout, i64, f64, ret_i64, ret_f64 };

struct Field {
  const char* name;    // snake_case, as in kernels.h
  const char* js_name;  // camelCase, as in JavaScript
  FieldKind kind;
  size_t offset;
};

struct KernelSignature {
  const char* name;
  size_t bytes;
  std::vector<Field> fields;
};

// In the order of kernels.def.
const std::vector<KernelSignature>& kernel_signatures();

// The arguments of one call as JavaScript packs them (lib/binding/pack.ts): numbers, field by field, and the owners of the
// tensors in the same order. A number field is itself; a tensor is dtype, offset, rank, shape, strides, or -1 when it is not there.
struct Packed {
  const double* numbers;
  size_t count;
  const Napi::CallbackInfo* info;
  size_t first_owner;  // position among the call's arguments
};

class PackedReader;

// An argument struct that keeps what it points to alive.
class Arguments {
 public:
  // Reads every field; throws a Napi::TypeError that names the field when one is of the wrong kind.
  // Tensors must live in `memory`; typed arrays are the host's, and a device gets a copy of them while the kernel runs.
  Arguments(const KernelSignature& signature, const Packed& packed, const OscDevice* memory);
  // For a copy between devices: the tensor fields may live anywhere.
  static Arguments anywhere(const KernelSignature& signature, const Packed& packed) { return Arguments(signature, packed); }

  void* data() { return storage_.data(); }
  int64_t tensor_bytes() const { return tensor_bytes_; }
  Napi::Object results(Napi::Env env) const;  // { every ret_ field }

  // Around a kernel on a device: typed arrays to temporary device memory, and back. On the thread of the queue.
  Status stage();
  Status unstage();
  bool reads_back() const;  // unstage() waits for the device

  const Status* input_failure() const;                       // first failed input, or null
  void fail_outputs(const Status& status);
  // Lets go of the memory; any thread. After it, only results() may be asked.
  void release_blocks() {
    inputs_.clear();
    outputs_.clear();
    staged_.clear();
  }
  bool holds_references() const { return !references_.empty(); }
  void release_references() { references_.clear(); }  // on the JavaScript thread

 private:
  // A typed array that a device works on through a copy.
  struct Staged {
    size_t field;  // offset of the tensor in the argument struct
    void* host;
    size_t bytes;
    int64_t offset;  // of the view, in bytes
    bool copy_in, copy_out;
    std::shared_ptr<Block> block;
  };

  Arguments(const KernelSignature& signature, const Packed& packed);
  void read(const Packed& packed, bool check_memory);
  void read_tensor(const Field& field, PackedReader& reader, bool check_memory);
  Tensor& tensor_at(size_t offset) {
    return *reinterpret_cast<Tensor*>(reinterpret_cast<unsigned char*>(storage_.data()) + offset);
  }

  const KernelSignature& signature_;
  const OscDevice* memory_ = nullptr;
  std::vector<uint64_t> storage_;  // the struct, aligned
  std::vector<std::shared_ptr<Block>> inputs_, outputs_;
  std::vector<Napi::ObjectReference> references_;
  std::vector<Staged> staged_;
  int64_t tensor_bytes_ = 0;
};

}  // namespace osc
