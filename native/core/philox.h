// Random numbers from a counter: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
// 2011). A number depends on (seed, stream, step, index) and its kind alone, so it has the same bits on every device, in
// whatever order and in however many pieces it is drawn. All arithmetic below is integer, exact, or one rounded operation
// at a time (multiply-adds are written out), which is what makes the bits equal.
#pragma once
#include <cmath>
#include <cstdint>

#include "host_device.h"

// Callers compile this for their own instruction set, so it must not survive as a function of its own.
#define OSC_RANDOM OSC_HOST_DEVICE inline __attribute__((always_inline))

namespace osc {

// 128 random bits.
struct RandomBlock {
  uint32_t word[4];
};

OSC_RANDOM void philox_round(uint32_t& c0, uint32_t& c1, uint32_t& c2, uint32_t& c3, uint32_t k0, uint32_t k1) {
  const uint64_t a = uint64_t{0xD2511F53u} * c0, b = uint64_t{0xCD9E8D57u} * c2;
  const uint32_t d0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0, d2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
  c1 = static_cast<uint32_t>(b);
  c3 = static_cast<uint32_t>(a);
  c0 = d0;
  c2 = d2;
}

OSC_RANDOM RandomBlock philox4x32_10(RandomBlock counter, uint32_t key0, uint32_t key1) {
  uint32_t c0 = counter.word[0], c1 = counter.word[1], c2 = counter.word[2], c3 = counter.word[3];
  for (uint32_t round = 0; round < 10; ++round) {
    philox_round(c0, c1, c2, c3, key0 + round * 0x9E3779B9u, key1 + round * 0xBB67AE85u);
  }
  return RandomBlock{{c0, c1, c2, c3}};
}

// The order is that of lib/ops/random.ts and of the contract of random_fill.
enum class RandomKind : int32_t { kUniform = 0, kNormal = 1, kRademacher = 2 };

struct RandomKey {
  uint64_t seed;
  uint32_t stream, step;
};

// Block `block` (below 2^51) of a kind: kinds, streams, steps and seeds never share one.
OSC_RANDOM RandomBlock random_block(RandomKind kind, const RandomKey& key, uint64_t block) {
  const uint32_t high = static_cast<uint32_t>(block >> 32) | static_cast<uint32_t>(kind) << 24;
  return philox4x32_10(RandomBlock{{static_cast<uint32_t>(block), high, key.step, key.stream}},
                       static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32));
}

// Rademacher: element i is bit i mod 128 of block i / 128; a set bit is +1.
inline constexpr int64_t kSignsPerBlock = 128;
// Uniform: element i is word i mod 4 of block i / 4. Normal: elements 2j and 2j + 1 come from words 2j and 2j + 1 of it.
inline constexpr int64_t kNumbersPerBlock = 4;

OSC_RANDOM float random_sign(uint32_t bits, uint32_t i) { return static_cast<float>(static_cast<int32_t>((bits >> i & 1u) << 1) - 1); }

// k / 2^24, k in [0, 2^24): exact.
OSC_RANDOM float random_uniform(uint32_t bits) { return static_cast<float>(static_cast<int32_t>(bits >> 8)) * 0x1p-24F; }

OSC_RANDOM float float_of_bits(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

OSC_RANDOM uint32_t bits_of_float(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

struct NormalPair {
  float first, second;
};

// Box and Muller: r (cos a, sin a) with r = sqrt(-2 ln u), u = (bits0 + 1/2) / 2^32 rounded to float32, a = 2 pi bits1 / 2^32.
// Series in place of library functions, which differ from device to device: every device gives the same bits. Against the
// formula in float64 the error is at most 3e-7 r (2e-7 seen over 4e7 values). |value| <= sqrt(66 ln 2) = 6.764.
OSC_RANDOM NormalPair random_normals(uint32_t bits0, uint32_t bits1) {
  // u = 2^exponent * mantissa with mantissa in [sqrt(1/2), sqrt(2)): ln(mantissa) = 2 atanh(s).
  const float whole = fmaf(static_cast<float>(static_cast<int32_t>(bits0 >> 16)), 65536.0F,
                                     static_cast<float>(static_cast<int32_t>(bits0 & 0xFFFFu)) + 0.5F);
  const uint32_t pattern = bits_of_float(whole), offset = pattern - 0x3F3504F3u;  // bits of sqrt(1/2)
  const int32_t exponent = (static_cast<int32_t>(offset) >> 23) - 32;
  const float mantissa = float_of_bits((offset & 0x007FFFFFu) + 0x3F3504F3u);
  const float s = (mantissa - 1.0F) / (mantissa + 1.0F), z = s * s;
  float series = fmaf(z, 1.0F / 9, 1.0F / 7);
  series = fmaf(z, series, 1.0F / 5);
  series = fmaf(z, series, 1.0F / 3);
  const float atanh = fmaf(s * z, series, s);
  const float log_u = fmaf(static_cast<float>(exponent), 0.693147181F, 2.0F * atanh);
  const float r = sqrtf(-2.0F * (log_u < 0.0F ? log_u : 0.0F));
  // a = quadrant pi / 2 + x, |x| <= pi / 4.
  const uint32_t quadrant = (bits1 + 0x20000000u) >> 30;
  const float x = static_cast<float>(static_cast<int32_t>(bits1 - (quadrant << 30))) * 1.46291808e-9F, y = x * x;  // 2 pi / 2^32
  float sine = fmaf(y, 1.0F / 362880, -1.0F / 5040);
  sine = fmaf(y, sine, 1.0F / 120);
  sine = fmaf(y, sine, -1.0F / 6);
  sine = fmaf(x * y, sine, x);
  float cosine = fmaf(y, -1.0F / 3628800, 1.0F / 40320);
  cosine = fmaf(y, cosine, -1.0F / 720);
  cosine = fmaf(y, cosine, 1.0F / 24);
  cosine = fmaf(y, cosine, -0.5F);
  cosine = fmaf(y, cosine, 1.0F);
  const bool swap = (quadrant & 1u) != 0;
  const float c = swap ? sine : cosine, d = swap ? cosine : sine;
  return NormalPair{r * (((quadrant + 1u) & 2u) != 0 ? -c : c), r * ((quadrant & 2u) != 0 ? -d : d)};
}

}  // namespace osc
