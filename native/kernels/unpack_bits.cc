#include <cstring>

#include "../kernels.h"
#include "bit_rows.h"

namespace osc {
namespace {

void unpack_row(const uint8_t* source, uint8_t* target, int64_t columns, int64_t bits) {
  const uint64_t mask = (uint64_t{1} << bits) - 1;
  for (int64_t i = 0; i < columns; i += 8) {  // eight codes are exactly `bits` bytes
    const int64_t count = std::min<int64_t>(8, columns - i);
    uint64_t eight = 0;
    std::memcpy(&eight, source + i / 8 * bits, static_cast<size_t>(packed_bits_bytes(count, bits)));
    for (int64_t t = 0; t < count; ++t) target[i + t] = static_cast<uint8_t>((eight >> (t * bits)) & mask);
  }
}

}  // namespace

Status unpack_bits(UnpackBitsArgs& args, const Context& context) {
  const Tensor &packed = args.packed, &codes = args.codes;
  const int64_t bits = args.bits;
  if (codes.rank != 2 || codes.dtype != OSC_UINT8 || !is_contiguous(codes)) {
    return fail(OSC_ARGUMENT, 0, "codes must be uint8 [rows, columns], contiguous");
  }
  const int64_t columns = codes.shape[1];
  if (bits < 1 || bits > 8) return fail(OSC_ARGUMENT, 0, "bits must be 1 to 8");
  if (packed.rank != 2 || (packed.dtype != OSC_UINT8 && packed.dtype != OSC_INT32)) {
    return fail(OSC_ARGUMENT, 0, "packed must be uint8 or int32 [rows, words]");
  }
  const int64_t row_bytes = packed.shape[1] * item_bytes(packed.dtype);
  if (packed.shape[0] != codes.shape[0] || row_bytes < packed_bits_bytes(columns, bits)) {
    return fail(OSC_ARGUMENT, 0, "packed is too small");
  }
  const auto unpack = [&](int64_t row, const auto* source) {
    unpack_row(reinterpret_cast<const uint8_t*>(source), data<uint8_t>(codes) + row * columns, columns, bits);
  };
  return packed.dtype == OSC_INT32 ? each_bit_row<int32_t>(packed, context, unpack)
                                   : each_bit_row<uint8_t>(packed, context, unpack);
}

}  // namespace osc
