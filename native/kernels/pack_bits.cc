#include <cstring>

#include "bit_rows.h"
#include "checks.h"

namespace osc {
namespace {

// Eight codes are exactly kBits bytes, the first code lowest (little-endian).
template <int kBits>
void pack_eight(const uint8_t* codes, uint8_t* target, size_t bytes = kBits) {
  constexpr uint64_t kMask = (uint64_t{1} << kBits) - 1;
  uint64_t eight = 0;
  for (int t = 0; t < 8; ++t) eight |= (codes[t] & kMask) << (t * kBits);
  std::memcpy(target, &eight, bytes);
}

// A row of `columns` codes, padded with `fill` to `padded` codes and with zero bits to `bytes` bytes.
template <int kBits>
void pack_row(const uint8_t* codes, int64_t columns, uint8_t fill, int64_t padded, uint8_t* target, int64_t bytes) {
  int64_t i = 0;
  for (; i + 8 <= columns; i += 8) pack_eight<kBits>(codes + i, target + i / 8 * kBits);
  for (; i < padded; i += 8) {
    uint8_t eight[8] = {};
    for (int64_t t = i; t < std::min(i + 8, padded); ++t) eight[t - i] = t < columns ? codes[t] : fill;
    const int64_t left = bytes - i / 8 * kBits;
    pack_eight<kBits>(eight, target + i / 8 * kBits, static_cast<size_t>(std::min<int64_t>(kBits, left)));
  }
  const int64_t written = std::min(bytes, i / 8 * kBits);
  if (written < bytes) std::memset(target + written, 0, static_cast<size_t>(bytes - written));
}

}  // namespace

Status pack_bits(PackBitsArgs& args, const Context& context) {
  const Tensor &codes = args.codes, &packed = args.packed;
  const int64_t bits = args.bits, padded = args.padded_columns;
  const bool fill = args.fill.data != nullptr;
  OSC_TRY(check(args));
  const int64_t columns = codes.shape[1], row_bytes = packed.shape[1] * item_bytes(packed.dtype);
  return with_bits(bits, [&](auto width) {
    return each_bit_row<uint8_t>(codes, context, [&](int64_t row, const uint8_t* source) {
      const uint8_t pad = fill ? data<const uint8_t>(args.fill)[row] : uint8_t{0};
      pack_row<width>(source, columns, pad, padded, data<uint8_t>(packed) + row * row_bytes, row_bytes);
    });
  });
}

}  // namespace osc
