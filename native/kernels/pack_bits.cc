#include <cstring>

#include "../kernels.h"
#include "bit_rows.h"

namespace osc {
namespace {

// Eight codes are exactly `bits` bytes, so a row is cut into eights; code(i) gives the code at place i.
template <class Code>
void pack_row(uint8_t* target, int64_t bytes, int64_t columns, int64_t bits, Code&& code) {
  const uint64_t mask = (uint64_t{1} << bits) - 1;
  int64_t at = 0;
  for (int64_t i = 0; i < columns; i += 8) {
    const int64_t count = std::min<int64_t>(8, columns - i);
    uint64_t eight = 0;
    for (int64_t t = 0; t < count; ++t) eight |= (code(i + t) & mask) << (t * bits);
    const int64_t length = packed_bits_bytes(count, bits);
    std::memcpy(target + at, &eight, static_cast<size_t>(length));  // little-endian: the first code is lowest
    at += length;
  }
  if (at < bytes) std::memset(target + at, 0, static_cast<size_t>(bytes - at));
}

}  // namespace

Status pack_bits(PackBitsArgs& args, const Context& context) {
  const Tensor &codes = args.codes, &packed = args.packed;
  const int64_t bits = args.bits, padded = args.padded_columns;
  const bool fill = args.fill.data != nullptr;
  if (codes.rank != 2 || codes.dtype != OSC_UINT8) return fail(OSC_ARGUMENT, 0, "codes must be uint8 [rows, columns]");
  const int64_t rows = codes.shape[0], columns = codes.shape[1];
  if (bits < 1 || bits > 8) return fail(OSC_ARGUMENT, 0, "bits must be 1 to 8");
  if (padded < columns) return fail(OSC_ARGUMENT, 0, "padded_columns must be at least columns");
  if (fill && (args.fill.dtype != OSC_UINT8 || size_of(args.fill) != rows || !is_contiguous(args.fill))) {
    return fail(OSC_ARGUMENT, 0, "fill must be uint8 [rows]");
  }
  if (packed.rank != 2 || (packed.dtype != OSC_UINT8 && packed.dtype != OSC_INT32) || !is_contiguous(packed)) {
    return fail(OSC_ARGUMENT, 0, "packed must be uint8 or int32 [rows, words], contiguous");
  }
  const int64_t row_bytes = packed.shape[1] * item_bytes(packed.dtype);
  if (packed.shape[0] != rows || row_bytes < packed_bits_bytes(padded, bits)) {
    return fail(OSC_ARGUMENT, 0, "packed is too small");
  }
  return each_bit_row<uint8_t>(codes, context, [&](int64_t row, const uint8_t* source) {
    uint8_t* target = data<uint8_t>(packed) + row * row_bytes;
    const uint64_t pad = fill ? data<uint8_t>(args.fill)[row] : 0;
    pack_row(target, row_bytes, padded, bits, [&](int64_t i) -> uint64_t { return i < columns ? source[i] : pad; });
  });
}

}  // namespace osc
