#include "common/strided.cuh"
#include "kernels.h"
#include "kernels/checks.h"

namespace osc {
namespace {

struct BitRows {
  const uint8_t* codes;  // [rows, columns]
  const uint8_t* fill;   // [rows] or null
  int64_t rows, columns, padded;
  int bits;
};

// One word a thread: the codes of bits [width * word, width * (word + 1)) of its row's stream, the first one lowest.
template <class Word>
OSC_GLOBAL pack_words(BitRows x, Word* packed, int64_t words) {
  constexpr int64_t kWidth = 8 * sizeof(Word);
  const int64_t word = global_thread();
  if (word >= words) return;
  const int64_t first = word * kWidth / x.bits, end = min(x.padded, (word * kWidth + kWidth + x.bits - 1) / x.bits);
  const uint32_t mask = (1U << x.bits) - 1;
  for (int64_t row = blockIdx.y; row < x.rows; row += gridDim.y) {
    uint64_t stream = 0;  // from the first bit of code `first` on: at most 7 bits, a word and 7 bits
    for (int64_t i = first; i < end; ++i) {
      const uint32_t code = i < x.columns ? x.codes[row * x.columns + i] : x.fill ? x.fill[row] : 0U;
      stream |= static_cast<uint64_t>(code & mask) << ((i - first) * x.bits);
    }
    packed[row * words + word] = static_cast<Word>(stream >> (word * kWidth - first * x.bits));
  }
}

template <class Word>
Status pack(const BitRows& x, void* packed, int64_t words) {
  const dim3 grid(static_cast<unsigned>(blocks_for(words, 128)), static_cast<unsigned>(x.rows < 65535 ? x.rows : 65535));
  return launch(pack_words<Word>, grid, dim3(128), 0, x, static_cast<Word*>(packed), words);
}

}  // namespace

Status pack_bits(PackBitsArgs& args, const Context&) {
  OSC_TRY(check(args));
  const int64_t rows = args.codes.shape[0], words = args.packed.shape[1];
  if (rows == 0 || words == 0) return ok();
  DeviceBuffer<uint8_t> buffer;
  BitRows x{nullptr, data<const uint8_t>(args.fill), rows, args.codes.shape[1], args.padded_columns, static_cast<int>(args.bits)};
  OSC_TRY(contiguous_rows(args.codes, buffer, &x.codes));
  return args.packed.dtype == OSC_INT32 ? pack<uint32_t>(x, args.packed.data, words)
                                        : pack<uint8_t>(x, args.packed.data, words);
}

}  // namespace osc
