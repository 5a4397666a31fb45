// Floats as unsigned integers of the same order, so that the k-th smallest can be found by counting digits.
#pragma once
#include <cstdint>
#include <cstring>

#include "host_device.h"

namespace osc {

OSC_HOST_DEVICE inline uint32_t float_bits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

// Of |x|: below 2^31, and above kInfinityKey for NaN.
OSC_HOST_DEVICE inline uint32_t magnitude_key(float x) { return float_bits(x) & 0x7FFFFFFFu; }
inline constexpr uint32_t kInfinityKey = 0x7F800000u;

// Of x; -0 and 0 have one key.
OSC_HOST_DEVICE inline uint32_t order_key(float x) {
  const uint32_t bits = float_bits(x + 0.0F);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The digits of a key, highest first: 11, 11 and 10 bits.
inline constexpr int kKeyDigits = 3;
inline constexpr int64_t kDigitValues = 2048;
OSC_HOST_DEVICE inline int digit_shift(int digit) { return digit <= 0 ? 21 : digit == 1 ? 10 : 0; }

}  // namespace osc
