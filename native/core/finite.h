// A fast test for NaN and Inf: on bit patterns, so that no compiler option can optimize it away.
#pragma once
#include <cstdint>

#include "host_device.h"

namespace osc {

OSC_HOST_DEVICE inline bool is_finite(float value) { return (bit_cast<uint32_t>(value) & 0x7F800000u) != 0x7F800000u; }
OSC_HOST_DEVICE inline bool is_finite(double value) {
  return (bit_cast<uint64_t>(value) & 0x7FF0000000000000u) != 0x7FF0000000000000u;
}

inline bool all_finite(const float* values, int64_t count) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t magnitude = bit_cast<uint32_t>(values[i]) & 0x7F800000u;
    bad |= static_cast<uint32_t>(magnitude == 0x7F800000u);
  }
  return bad == 0;
}

inline bool all_finite(const double* values, int64_t count) {
  uint64_t bad = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t magnitude = bit_cast<uint64_t>(values[i]) & 0x7FF0000000000000u;
    bad |= static_cast<uint64_t>(magnitude == 0x7FF0000000000000u);
  }
  return bad == 0;
}

}  // namespace osc
