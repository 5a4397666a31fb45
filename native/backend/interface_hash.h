// Whether an addon and a plug-in agree on the arguments of every kernel.
#pragma once
#include <cstdint>

#include "../kernels.h"

namespace osc {
namespace detail {

// FNV-1a.
constexpr uint64_t hash_text(uint64_t hash, const char* text) {
  for (; *text; ++text) hash = (hash ^ static_cast<unsigned char>(*text)) * 0x100000001b3u;
  return hash;
}

}  // namespace detail

// Hash of every row of kernels.def and every field list of kernels.h, in order.
constexpr uint64_t kernel_interface_hash() {
  uint64_t hash = 0xcbf29ce484222325u;
#define OSC_FIELD_TEXT(kind, name) #kind " " #name ";"
#define OSC_KERNEL(stem, Type) hash = detail::hash_text(hash, #stem ":" OSC_FIELDS_##stem(OSC_FIELD_TEXT));
#include "../kernels.def"
#undef OSC_KERNEL
#undef OSC_FIELD_TEXT
  return hash;
}

}  // namespace osc
