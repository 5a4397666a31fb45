// The table of segments: tensors that lie one after the other in a vector, and the runs their elements are averaged over.
#pragma once
#include "../core/status.h"
#include "../core/tensor.h"

namespace osc {

// A table is absent, or [count, 2] int32, contiguous.
inline Status check_segment_table(const Tensor& segments) {
  if (size_of(segments) == 0) return ok();
  if (segments.rank != 2 || segments.shape[1] != 2 || segments.dtype != OSC_INT32 || !is_contiguous(segments)) {
    return fail(OSC_ARGUMENT, 0, "segments must be [count, 2] int32");
  }
  return ok();
}

// Row (end, block): the elements from the end of the row before up to `end` are averaged over runs of `block`. ARGUMENT: rows
// that do not cut [0, size) into whole runs. `rows` in the host's memory.
inline Status check_segment_rows(const int32_t* rows, int64_t count, int64_t size) {
  int64_t start = 0;
  for (int64_t s = 0; s < count; ++s) {
    const int64_t end = rows[2 * s], block = rows[2 * s + 1];
    if (end < start || end > size || block < 1 || (end - start) % block != 0) {
      return fail(OSC_ARGUMENT, s, "segment %lld does not cut the vector into whole blocks", static_cast<long long>(s));
    }
    start = end;
  }
  return start == size ? ok() : fail(OSC_ARGUMENT, count, "segments do not cover the vector");
}

}  // namespace osc
