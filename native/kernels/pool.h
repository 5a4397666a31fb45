// The geometry of pooling: planes [height, width] to [out_h, out_w], windows cut off at the edges.
#pragma once
#include "rows.h"

namespace osc {

template <class Args>
struct PoolWindows {
  const Args& args;
  const Tensor &x, &y;

  bool fit() const {
    return x.rank == 3 && y.rank == 3 && is_contiguous(x) && is_contiguous(y) && x.shape[0] == y.shape[0] &&
           args.kernel_h > 0 && args.kernel_w > 0 && args.stride_h > 0 && args.stride_w > 0;
  }

  // f(output, top, bottom, left, right) for the windows of a plane, inside the plane.
  template <class F>
  void each(F&& f) const {
    for (int64_t oy = 0; oy < y.shape[1]; ++oy) {
      const int64_t top = oy * args.stride_h - args.pad_top, bottom = std::min(x.shape[1], top + args.kernel_h);
      for (int64_t ox = 0; ox < y.shape[2]; ++ox) {
        const int64_t left = ox * args.stride_w - args.pad_left, right = std::min(x.shape[2], left + args.kernel_w);
        f(oy * y.shape[2] + ox, std::max<int64_t>(0, top), bottom, std::max<int64_t>(0, left), right);
      }
    }
  }

  // 1 / the elements averaged: of the whole window, or of what is inside.
  double share(int64_t top, int64_t bottom, int64_t left, int64_t right) const {
    const int64_t count = args.whole ? args.kernel_h * args.kernel_w : (bottom - top) * (right - left);
    return count > 0 ? 1.0 / static_cast<double>(count) : 0;
  }
};

}  // namespace osc
