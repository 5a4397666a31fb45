// Looks for an index out of range on the device, before a kernel reads through it.
#pragma once
#include "common/gpu.cuh"
#include "common/memory.h"

namespace osc {
namespace {

// first[0] = the smallest position with an index outside [0, limit).
OSC_GLOBAL find_out_of_range(const int32_t* indices, int64_t count, int64_t limit, unsigned long long* first) {
  const int64_t i = global_thread();
  if (i < count && (indices[i] < 0 || indices[i] >= limit)) atomicMin(first, static_cast<unsigned long long>(i));
}

// Position and value of the first index outside [0, limit); position -1 when there is none. Waits for the device.
inline Status first_out_of_range(const int32_t* indices, int64_t count, int64_t limit, int64_t* position, int32_t* value) {
  *position = -1;
  if (count == 0) return ok();
  DeviceBuffer<unsigned long long> first(1);
  if (!first) return first.status();
  OSC_TRY(set_bytes(first.get(), 0xFF, sizeof(unsigned long long)));
  OSC_TRY(launch(find_out_of_range, dim3(static_cast<unsigned>(blocks_for(count, 256))), dim3(256), 0, indices, count, limit,
                 first.get()));
  unsigned long long found;
  OSC_TRY(read_value(first.get(), &found));
  if (found == ~0ULL) return ok();
  *position = static_cast<int64_t>(found);
  return read_value(indices + *position, value);
}

}  // namespace
}  // namespace osc
