#include "arguments.h"

#include <cstring>
#include <deque>
#include <string>

#include "../kernels.h"

namespace osc {
namespace {

const char* camel_case(const char* snake) {
  static std::deque<std::string> names;  // stable addresses
  std::string name;
  for (const char* c = snake; *c; ++c) {
    if (*c == '_' && c[1]) {
      name += static_cast<char>(std::toupper(*++c));
    } else {
      name += *c;
    }
  }
  names.push_back(name);
  return names.back().c_str();
}

// Reach in elements of a strided view, and whether it stays inside [0, count).
bool inside(const Tensor& t, int64_t offset, int64_t count) {
  int64_t low = offset, high = offset;
  for (int i = 0; i < t.rank; ++i) {
    if (t.shape[i] == 0) return true;
    const int64_t reach = (t.shape[i] - 1) * t.strides[i];
    (reach < 0 ? low : high) += reach;
  }
  return low >= 0 && high < count;
}

[[noreturn]] void refuse(Napi::Env env, const Field& field, const char* what) {
  throw Napi::TypeError::New(env, std::string("expected ") + what + " for " + field.js_name);
}

}  // namespace

const std::vector<KernelSignature>& kernel_signatures() {
#define OSC_FIELD(kind, member) {#member, camel_case(#member), FieldKind::kind, offsetof(Current, member)},
#define OSC_KERNEL(stem, Type)                                   \
  [] {                                                           \
    using Current = Type##Args;                                  \
    return KernelSignature{#stem, sizeof(Current), {OSC_FIELDS_##stem(OSC_FIELD)}}; \
  }(),
  static const std::vector<KernelSignature> signatures = {
#include "../kernels.def"
  };
#undef OSC_KERNEL
#undef OSC_FIELD
  return signatures;
}

// Hands out the packed numbers and owners in order; what is missing at the end is an error of the caller's.
class PackedReader {
 public:
  explicit PackedReader(const Packed& packed) : packed_(packed), owner_(packed.first_owner) {}
  Napi::Env env() const { return packed_.info->Env(); }
  double number() {
    if (next_ >= packed_.count) throw Napi::TypeError::New(env(), "expected more packed arguments");
    return packed_.numbers[next_++];
  }
  int64_t integer() { return static_cast<int64_t>(number()); }
  Napi::Value owner() { return (*packed_.info)[owner_++]; }

 private:
  const Packed& packed_;
  size_t next_ = 0, owner_;
};

Arguments::Arguments(const KernelSignature& signature, const Packed& packed, const OscDevice* memory)
    : signature_(signature), memory_(memory), storage_((signature.bytes + 7) / 8) {
  read(packed, true);
}

Arguments::Arguments(const KernelSignature& signature, const Packed& packed)
    : signature_(signature), storage_((signature.bytes + 7) / 8) {
  read(packed, false);
}

void Arguments::read(const Packed& packed, bool check_memory) {
  PackedReader reader(packed);
  auto* base = reinterpret_cast<unsigned char*>(storage_.data());
  inputs_.reserve(signature_.fields.size());
  outputs_.reserve(signature_.fields.size());
  for (const Field& field : signature_.fields) {
    if (field.kind == FieldKind::ret_i64 || field.kind == FieldKind::ret_f64) continue;
    if (field.kind == FieldKind::f64) {
      const double number = reader.number();
      std::memcpy(base + field.offset, &number, sizeof number);
    } else if (field.kind == FieldKind::i64) {
      const int64_t integer = reader.integer();
      std::memcpy(base + field.offset, &integer, sizeof integer);
    } else {
      read_tensor(field, reader, check_memory);
    }
  }
}

void Arguments::read_tensor(const Field& field, PackedReader& reader, bool check_memory) {
  const Napi::Env env = reader.env();
  Tensor& tensor = tensor_at(field.offset);
  const int64_t dtype = reader.integer();
  if (dtype < 0 && field.kind == FieldKind::opt) {
    tensor.shape[0] = 0;
    tensor.rank = 1;
    return;
  }
  if (dtype < 0 || dtype > OSC_BOOL) refuse(env, field, "a tensor of a known dtype");
  tensor.dtype = static_cast<int32_t>(dtype);
  const int64_t offset = reader.integer(), rank = reader.integer();
  if (rank < 0 || rank > OSC_MAX_RANK) refuse(env, field, "at most 8 dimensions");
  tensor.rank = static_cast<int32_t>(rank);
  for (int i = 0; i < tensor.rank; ++i) {
    tensor.shape[i] = reader.integer();
    if (tensor.shape[i] < 0) refuse(env, field, "no negative dimension");
  }
  for (int i = 0; i < tensor.rank; ++i) tensor.strides[i] = reader.integer();
  const Napi::Value given = reader.owner();
  if (!given.IsObject()) refuse(env, field, "a tensor");
  const auto owner = given.As<Napi::Object>();
  const bool borrowed_array = owner.IsTypedArray();

  std::shared_ptr<Block> block;
  if (borrowed_array) {
    const ArrayBytes view = array_bytes(owner.As<Napi::TypedArray>());
    block = std::make_shared<Block>();
    block->data = view.data;
    block->bytes = view.bytes;
    references_.push_back(Napi::Persistent(owner));
  } else {
    auto* storage = Storage::Unwrap(owner);
    block = storage->block();
    if (!block) refuse(env, field, "a tensor that is not disposed");
    const Napi::Value borrowed = storage->borrowed();
    if (borrowed.IsObject()) references_.push_back(Napi::Persistent(borrowed.As<Napi::Object>()));
    if (check_memory && block->memory != memory_) refuse(env, field, "a tensor on the device of the operation");
  }
  const int64_t item = item_bytes(tensor.dtype);
  if (!inside(tensor, offset, static_cast<int64_t>(block->bytes) / item)) refuse(env, field, "a view inside its storage");
  tensor.data = static_cast<uint8_t*>(block->data) + offset * item;
  if (memory_ && borrowed_array) {
    const bool reads = field.kind != FieldKind::out, writes = field.kind == FieldKind::out || field.kind == FieldKind::inout;
    const bool whole = is_contiguous(tensor) && size_of(tensor) * item == static_cast<int64_t>(block->bytes);
    staged_.push_back({field.offset, block->data, block->bytes, offset * item, reads || !whole, writes, nullptr});
  }
  tensor_bytes_ += size_of(tensor) * item;
  if (field.kind != FieldKind::out) inputs_.push_back(block);
  if (field.kind == FieldKind::out || field.kind == FieldKind::inout) outputs_.push_back(block);
}

Status Arguments::stage() {
  for (Staged& staged : staged_) {
    auto block = std::make_shared<Block>();
    OSC_TRY(memory_->allocate(static_cast<int64_t>(staged.bytes), &block->data));
    block->bytes = staged.bytes;
    block->owned = true;
    block->memory = memory_;
    if (staged.copy_in) OSC_TRY(memory_->copy_in(block->data, staged.host, static_cast<int64_t>(staged.bytes)));
    tensor_at(staged.field).data = static_cast<uint8_t*>(block->data) + staged.offset;
    staged.block = std::move(block);
  }
  return ok();
}

Status Arguments::unstage() {
  for (const Staged& staged : staged_) {
    if (staged.copy_out) OSC_TRY(memory_->copy_out(staged.host, staged.block->data, static_cast<int64_t>(staged.bytes)));
  }
  return ok();
}

bool Arguments::reads_back() const {
  for (const Staged& staged : staged_) {
    if (staged.copy_out) return true;
  }
  return false;
}

Napi::Object Arguments::results(Napi::Env env) const {
  const Napi::Object results = Napi::Object::New(env);
  const auto* base = reinterpret_cast<const unsigned char*>(storage_.data());
  for (const Field& field : signature_.fields) {
    if (field.kind == FieldKind::ret_f64) {
      double value;
      std::memcpy(&value, base + field.offset, sizeof value);
      results.Set(field.js_name, Napi::Number::New(env, value));
    } else if (field.kind == FieldKind::ret_i64) {
      int64_t value;
      std::memcpy(&value, base + field.offset, sizeof value);
      results.Set(field.js_name, Napi::Number::New(env, static_cast<double>(value)));
    }
  }
  return results;
}

const Status* Arguments::input_failure() const {
  for (const auto& block : inputs_) {
    if (block->failure) return block->failure.get();
  }
  return nullptr;
}

void Arguments::fail_outputs(const Status& status) {
  const auto failure = std::make_shared<Status>(status);
  for (const auto& block : outputs_) block->failure = failure;
}

}  // namespace osc
