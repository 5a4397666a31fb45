// Passes over strided views that are read together, one element of each a position.
#pragma once
#include <utility>

#include "common/flat.cuh"
#include "kernels/strided.h"

namespace osc {
namespace {

// Where the elements of a logical position are.
template <int count>
struct Views {
  Walk<count> walk;
  bool small;  // positions fit 31 bits, where division is fast

  Views(const Walk<count>& views, int64_t size) : walk(views), small(size < (int64_t{1} << 31)) {}

  __device__ void offsets(int64_t position, int64_t (&at)[count]) const {
    if (small) find(static_cast<uint32_t>(position), at);
    else find(static_cast<uint64_t>(position), at);
  }

 private:
  template <class Index>
  __device__ void find(Index position, int64_t (&at)[count]) const {
    for (int v = 0; v < count; ++v) at[v] = 0;
    for (int d = walk.rank - 1; d > 0; --d) {
      const Index length = static_cast<Index>(walk.shape[d]), rest = position / length;
      const int64_t here = static_cast<int64_t>(position - rest * length);
      for (int v = 0; v < count; ++v) at[v] += here * walk.strides[v][d];
      position = rest;
    }
    for (int v = 0; v < count; ++v) at[v] += static_cast<int64_t>(position) * walk.strides[v][0];
  }
};

template <class F, int64_t... values>
Status choose(int64_t value, F&& f, std::integer_sequence<int64_t, values...>) {
  Status status = fail(OSC_ARGUMENT, value, "no such op");
  ((value == values && (status = f(std::integral_constant<int64_t, values>{}), true)) || ...);
  return status;
}

// f(std::integral_constant<int64_t, value>), for a value from 0 to count - 1.
template <int64_t count, class F>
Status with_op(int64_t value, F&& f) {
  return choose(value, f, std::make_integer_sequence<int64_t, count>{});
}

}  // namespace
}  // namespace osc
