// Row r of [outer, rows, inner] over outer and inner, as the normalizations see it.
#pragma once
#include "common/gpu.cuh"
#include "core/tensor.h"

namespace osc {

struct OuterRows {
  int64_t outer, rows, inner;
  OSC_HOST_DEVICE int64_t length() const { return outer * inner; }
  // Where element i of a row is.
  __device__ int64_t at(int64_t row, int64_t i) const {
    const int64_t o = outer == 1 ? 0 : i / inner;
    return (o * rows + row) * inner + (i - o * inner);
  }
};

inline OuterRows outer_rows(const Tensor& x) { return {x.shape[0], x.shape[1], x.shape[2]}; }

}  // namespace osc
