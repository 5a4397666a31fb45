// What pooling checks, and its geometry: planes [height, width] to [out_h, out_w], windows cut off at the edges.
#pragma once
#include "../core/host_device.h"
#include "rows_check.h"

namespace osc {

struct PoolShape {
  int64_t planes, height, width, out_h, out_w, kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left;

  struct Window {
    int64_t top, bottom, left, right;  // inside the plane
  };

  OSC_HOST_DEVICE Window window(int64_t output_row, int64_t output_column) const {
    const int64_t top = output_row * stride_h - pad_top, left = output_column * stride_w - pad_left;
    const int64_t bottom = top + kernel_h, right = left + kernel_w;
    return {top < 0 ? 0 : top, bottom < height ? bottom : height, left < 0 ? 0 : left, right < width ? right : width};
  }

  // 1 / the elements averaged: of the whole window, or of what is inside.
  OSC_HOST_DEVICE double share(const Window& w, bool whole) const {
    const int64_t count = whole ? kernel_h * kernel_w : (w.bottom - w.top) * (w.right - w.left);
    return count > 0 ? 1.0 / static_cast<double>(count) : 0;
  }

  int64_t plane() const { return height * width; }
  int64_t places() const { return out_h * out_w; }
};

// x [planes, height, width], y [planes, out_h, out_w], of any dtype.
template <class Args>
bool is_pool(const Args& args, const Tensor& x, const Tensor& y) {
  return x.rank == 3 && y.rank == 3 && is_contiguous(x) && is_contiguous(y) && x.shape[0] == y.shape[0] &&
         args.kernel_h > 0 && args.kernel_w > 0 && args.stride_h > 0 && args.stride_w > 0;
}

template <class Args>
PoolShape pool_shape(const Args& args, const Tensor& x, const Tensor& y) {
  return {x.shape[0],    x.shape[1],    x.shape[2],    y.shape[1],   y.shape[2],   args.kernel_h,
          args.kernel_w, args.stride_h, args.stride_w, args.pad_top, args.pad_left};
}

inline Status check(const AvgPoolArgs& args) {
  const bool fits = is_pool(args, args.x, args.y) && is_real(args.x) && args.x.dtype == args.y.dtype;
  return fits ? ok() : fail(OSC_ARGUMENT, 0, "x and y must be planes of one real dtype, windows and strides above 0");
}

inline Status check(const AvgPoolBackwardArgs& args) {
  const bool fits = is_pool(args, args.dx, args.g) && is_real(args.g) && args.g.dtype == args.dx.dtype;
  return fits ? ok() : fail(OSC_ARGUMENT, 0, "g and dx must be planes of one real dtype, windows and strides above 0");
}

inline Status check(const MaxPoolArgs& args) {
  const bool fits = is_pool(args, args.x, args.index) && is_real(args.x) && args.index.dtype == OSC_INT32;
  return fits ? ok() : fail(OSC_ARGUMENT, 0, "x must be real planes, index int32, windows and strides above 0");
}

}  // namespace osc
