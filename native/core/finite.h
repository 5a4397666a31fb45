// A fast test for NaN and Inf: on bit patterns, so that no compiler option can optimize it away.
#pragma once
#include <bit>
#include <cstdint>

namespace osc {

inline bool all_finite(const float* values, int64_t count) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t magnitude = std::bit_cast<uint32_t>(values[i]) & 0x7F800000u;
    bad |= static_cast<uint32_t>(magnitude == 0x7F800000u);
  }
  return bad == 0;
}

inline bool all_finite(const double* values, int64_t count) {
  uint64_t bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t magnitude = std::bit_cast<uint64_t>(values[i]) & 0x7FF0000000000000u;
    bad |= static_cast<uint64_t>(magnitude == 0x7FF0000000000000u);
  }
  return bad == 0;
}

}  // namespace osc
