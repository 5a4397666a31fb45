#include "common/strided.cuh"
#include "kernels.h"
#include "kernels/checks.h"

namespace osc {
namespace {

// One code a thread. A code crosses from one word to the next at most once.
template <class Word>
OSC_GLOBAL unpack_codes(const Word* packed, int64_t words, int64_t rows, int64_t columns, int bits, uint8_t* codes) {
  constexpr int64_t kWidth = 8 * sizeof(Word);
  const int64_t column = global_thread();
  if (column >= columns) return;
  const int64_t bit = column * bits, word = bit / kWidth;
  const int shift = static_cast<int>(bit - word * kWidth);
  const bool crosses = shift + bits > kWidth;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    const Word* source = packed + row * words + word;
    uint64_t stream = source[0];
    if (crosses) stream |= static_cast<uint64_t>(source[1]) << kWidth;
    codes[row * columns + column] = static_cast<uint8_t>((stream >> shift) & ((1U << bits) - 1));
  }
}

template <class Word>
Status unpack(const UnpackBitsArgs& args) {
  const int64_t rows = args.codes.shape[0], columns = args.codes.shape[1];
  DeviceBuffer<Word> buffer;
  const Word* packed;
  OSC_TRY(contiguous_rows(args.packed, buffer, &packed));
  const dim3 grid(static_cast<unsigned>(blocks_for(columns, 256)), static_cast<unsigned>(rows < 65535 ? rows : 65535));
  return launch(unpack_codes<Word>, grid, dim3(256), 0, packed, args.packed.shape[1], rows, columns,
                static_cast<int>(args.bits), data<uint8_t>(args.codes));
}

}  // namespace

Status unpack_bits(UnpackBitsArgs& args, const Context&) {
  OSC_TRY(check(args));
  if (size_of(args.codes) == 0) return ok();
  return args.packed.dtype == OSC_INT32 ? unpack<uint32_t>(args) : unpack<uint8_t>(args);
}

}  // namespace osc
