// The windows of a plane one after the other.
#pragma once
#include "pool_shape.h"
#include "rows.h"

namespace osc {

// f(output, window)
template <class F>
void each_window(const PoolShape& shape, F&& f) {
  for (int64_t oy = 0; oy < shape.out_h; ++oy) {
    for (int64_t ox = 0; ox < shape.out_w; ++ox) f(oy * shape.out_w + ox, shape.window(oy, ox));
  }
}

}  // namespace osc
