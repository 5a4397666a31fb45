#include <cstring>

#include "bit_rows.h"
#include "checks.h"

namespace osc {
namespace {

// Eight codes are exactly kBits bytes, the first code lowest (little-endian).
template <int kBits>
void unpack_eight(const uint8_t* source, uint8_t* codes, size_t bytes = kBits) {
  constexpr uint64_t kMask = (uint64_t{1} << kBits) - 1;
  uint64_t eight = 0;
  std::memcpy(&eight, source, bytes);
  for (int t = 0; t < 8; ++t) codes[t] = static_cast<uint8_t>((eight >> (t * kBits)) & kMask);
}

template <int kBits>
void unpack_row(const uint8_t* source, uint8_t* codes, int64_t columns) {
  int64_t i = 0;
  for (; i + 8 <= columns; i += 8) unpack_eight<kBits>(source + i / 8 * kBits, codes + i);
  if (i == columns) return;
  uint8_t eight[8];
  unpack_eight<kBits>(source + i / 8 * kBits, eight, static_cast<size_t>(packed_bits_bytes(columns - i, kBits)));
  std::memcpy(codes + i, eight, static_cast<size_t>(columns - i));
}

}  // namespace

Status unpack_bits(UnpackBitsArgs& args, const Context& context) {
  const Tensor &packed = args.packed, &codes = args.codes;
  const int64_t bits = args.bits;
  OSC_TRY(check(args));
  const int64_t columns = codes.shape[1];
  return with_bits(bits, [&](auto width) {
    const auto unpack = [&](int64_t row, const auto* source) {
      unpack_row<width>(reinterpret_cast<const uint8_t*>(source), data<uint8_t>(codes) + row * columns, columns);
    };
    return packed.dtype == OSC_INT32 ? each_bit_row<int32_t>(packed, context, unpack)
                                     : each_bit_row<uint8_t>(packed, context, unpack);
  });
}

}  // namespace osc
