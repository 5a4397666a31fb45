// Walking several strided views of one shape together, in row-major order.
#pragma once
#include <algorithm>
#include <cstdint>

#include "../core/tensor.h"

namespace osc {

// The common shape of `count` views with as few dimensions as their strides allow: dimensions of one element are dropped,
// neighbours that every view steps through evenly are joined. Never empty: rank >= 1.
template <int count>
struct Walk {
  int rank = 1;
  int64_t shape[OSC_MAX_RANK] = {1};
  int64_t strides[count][OSC_MAX_RANK] = {};

  Walk() = default;
  explicit Walk(const Tensor* const (&views)[count]) {
    int used = 0;
    for (int d = 0; d < views[0]->rank; ++d) {
      const int64_t length = views[0]->shape[d];
      if (length == 1) continue;
      bool joins = used > 0;
      for (int v = 0; joins && v < count; ++v) joins = strides[v][used - 1] == views[v]->strides[d] * length;
      if (joins) {
        shape[used - 1] *= length;
      } else {
        shape[used++] = length;
      }
      for (int v = 0; v < count; ++v) strides[v][used - 1] = views[v]->strides[d];
    }
    if (used) rank = used;
  }

  int64_t inner() const { return shape[rank - 1]; }
  int64_t inner_stride(int view) const { return strides[view][rank - 1]; }

  // f(position, run, offsets): from logical position `start` to `end`, at most `limit` elements of the last dimension at a time.
  template <class F>
  void each_run(int64_t start, int64_t end, int64_t limit, F&& f) const {
    if (start >= end) return;
    int64_t index[OSC_MAX_RANK], offsets[count] = {};
    int64_t rest = start;
    for (int d = rank - 1; d >= 0; --d) {
      index[d] = rest % shape[d];
      rest /= shape[d];
      for (int v = 0; v < count; ++v) offsets[v] += index[d] * strides[v][d];
    }
    const int last = rank - 1;
    for (int64_t position = start; position < end;) {
      const int64_t run = std::min({shape[last] - index[last], end - position, limit});
      f(position, run, offsets);
      position += run;
      index[last] += run;
      for (int v = 0; v < count; ++v) offsets[v] += run * strides[v][last];
      for (int d = last; d > 0 && index[d] == shape[d]; --d) {
        index[d] = 0;
        ++index[d - 1];
        for (int v = 0; v < count; ++v) offsets[v] += strides[v][d - 1] - shape[d] * strides[v][d];
      }
    }
  }
};

inline bool same_shape(const Tensor& a, const Tensor& b) {
  if (a.rank != b.rank) return false;
  for (int d = 0; d < a.rank; ++d) {
    if (a.shape[d] != b.shape[d]) return false;
  }
  return true;
}

inline bool is_real(const Tensor& t) { return t.dtype == OSC_FLOAT32 || t.dtype == OSC_FLOAT64; }

// f(float{}) or f(double{}).
template <class F>
auto with_real(int32_t dtype, F&& f) {
  return dtype == OSC_FLOAT64 ? f(double{}) : f(float{});
}

}  // namespace osc
