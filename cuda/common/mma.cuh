// Tensor-core products of one warp, d += a b, with the fragments of mma.sync (PTX ISA, "Matrix Fragments"): with
// g = lane / 4 and t = lane % 4,
//   d [16, 8] float: d[0], d[1] at (g, 2t), (g, 2t + 1); d[2], d[3] at (g + 8, 2t), (g + 8, 2t + 1)
//   16-bit types, a [16, 16]: a[0] row g, columns 2t, 2t + 1; a[1] row g + 8; a[2] row g, columns 2t + 8, 2t + 9; a[3] row g + 8
//                 b [16, 8]:  b[0] rows 2t, 2t + 1, column g; b[1] rows 2t + 8, 2t + 9; the lower half of a word comes first
//   tf32, a [16, 8]: a[0] (g, t), a[1] (g + 8, t), a[2] (g, t + 4), a[3] (g + 8, t + 4); b [8, 8]: b[0] (t, g), b[1] (t + 4, g)
// All 32 lanes call together. Products are exact, their sums float32 in an order of the hardware's choosing.
#pragma once
#include "core/half.h"

namespace osc {

#if defined(__CUDACC__)

#define OSC_MMA_16816(name, type)                                                                                     \
  __device__ inline void name(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {                        \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type                                               \
                 ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                                         \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                                     \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                                 \
  }
OSC_MMA_16816(mma_bf16_16816, "bf16")
OSC_MMA_16816(mma_f16_16816, "f16")
#undef OSC_MMA_16816

// Operands are float32 bits; the lowest 13 are ignored by the hardware (round first with to_tf32).
__device__ inline void mma_tf32_1688(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#else

namespace emulator {

struct Fragments {
  uint32_t a[4], b[2];
};

// d += a b, the operands gathered from all lanes: a at (row, k), b at (k, column).
template <int k_extent, class A, class B>
void multiply_fragments(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const char* file, int line, A a_at,
                        B b_at) {
  const Fragments mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const WarpSlots slots = exchange(0xFFFFFFFFu, "mma", &mine, sizeof mine, file, line);
  const int lane = lane_index(), g = lane / 4, t = lane % 4;
  for (int i = 0; i < 4; ++i) {
    const int row = g + 8 * (i / 2), column = 2 * t + i % 2;
    double sum = d[i];
    for (int k = 0; k < k_extent; ++k) sum += static_cast<double>(a_at(slots, row, k)) * b_at(slots, k, column);
    d[i] = static_cast<float>(sum);
  }
}

template <class Convert>
void multiply_16816(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const char* file, int line,
                    Convert to_float) {
  multiply_fragments<16>(
      d, a, b, file, line,
      [&](const WarpSlots& slots, int row, int k) {
        const Fragments from = slots.get<Fragments>(row % 8 * 4 + k % 8 / 2);
        return to_float(static_cast<uint16_t>(from.a[row / 8 + 2 * (k / 8)] >> (16 * (k % 2))));
      },
      [&](const WarpSlots& slots, int k, int column) {
        const Fragments from = slots.get<Fragments>(column * 4 + k % 8 / 2);
        return to_float(static_cast<uint16_t>(from.b[k / 8] >> (16 * (k % 2))));
      });
}

}  // namespace emulator

inline void mma_bf16_16816(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                           const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  emulator::multiply_16816(d, a, b, file, line, bfloat16_to_float);
}
inline void mma_f16_16816(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                          const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  emulator::multiply_16816(d, a, b, file, line, half_to_float);
}
inline void mma_tf32_1688(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                          const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const auto value = [](uint32_t bits) { return bit_cast<float>(bits & 0xFFFFE000u); };
  emulator::multiply_fragments<8>(
      d, a, b, file, line,
      [&](const emulator::WarpSlots& slots, int row, int k) {
        return value(slots.get<emulator::Fragments>(row % 8 * 4 + k % 4).a[row / 8 + 2 * (k / 4)]);
      },
      [&](const emulator::WarpSlots& slots, int k, int column) {
        return value(slots.get<emulator::Fragments>(column * 4 + k % 4).b[k / 4]);
      });
}

#endif

// float32 rounded to the 10-bit mantissa of tf32, half away from zero as cvt.rna does; NaN and Inf stay.
OSC_HOST_DEVICE inline uint32_t to_tf32(float value) {
  const uint32_t bits = bit_cast<uint32_t>(value);
  return (bits & 0x7F800000u) == 0x7F800000u ? bits : (bits + 0x1000u) & 0xFFFFE000u;
}

}  // namespace osc
