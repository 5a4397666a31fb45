// What the convolution kernels check, and their geometry.
#pragma once
#include "../core/host_device.h"
#include "../kernels.h"
#include "strided.h"

namespace osc {

// One image and group: x [channels, height, width], w [outputs, channels, kernel_h, kernel_w], y [outputs, out_h, out_w].
struct ConvGeometry {
  int64_t batch, groups, channels, height, width, outputs, out_h, out_w, kernel_h, kernel_w;
  int64_t stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;

  OSC_HOST_DEVICE int64_t taps() const { return channels * kernel_h * kernel_w; }  // rows of the patch matrix
  OSC_HOST_DEVICE int64_t places() const { return out_h * out_w; }                 // its columns
  OSC_HOST_DEVICE int64_t image() const { return channels * height * width; }
  OSC_HOST_DEVICE int64_t result() const { return outputs * places(); }
  OSC_HOST_DEVICE int64_t filter() const { return outputs * taps(); }
  // The patch matrix is the image itself.
  bool plain() const {
    return kernel_h == 1 && kernel_w == 1 && stride_h == 1 && stride_w == 1 && pad_top == 0 && pad_left == 0 &&
           out_h == height && out_w == width;
  }
};

// The geometry of a call, with batch < 0 when the tensors do not fit each other.
template <class Args>
ConvGeometry conv_geometry(const Args& args, const Tensor& x, const Tensor& w, const Tensor& y) {
  ConvGeometry g{};
  g.batch = -1;
  for (const Tensor* t : {&x, &w, &y}) {
    if (t->rank != 4 || !is_real(*t) || t->dtype != x.dtype || !is_contiguous(*t)) return g;
  }
  const int64_t groups = args.groups;
  if (groups < 1 || args.stride_h < 1 || args.stride_w < 1 || args.dilation_h < 1 || args.dilation_w < 1) return g;
  if (x.shape[1] != w.shape[1] * groups || w.shape[0] % groups != 0 || y.shape[1] != w.shape[0] || y.shape[0] != x.shape[0]) {
    return g;
  }
  g = {x.shape[0],      groups,          w.shape[1],   x.shape[2],    x.shape[3],      w.shape[0] / groups,
       y.shape[2],      y.shape[3],      w.shape[2],   w.shape[3],    args.stride_h,   args.stride_w,
       args.pad_top,    args.pad_left,   args.dilation_h, args.dilation_w};
  return g;
}

inline Status check(const Conv2dArgs& args, ConvGeometry& g) {
  g = conv_geometry(args, args.x, args.w, args.y);
  return g.batch < 0 ? fail(OSC_ARGUMENT, 0, "x, w and y do not fit each other") : ok();
}

inline Status check(const Conv2dInputArgs& args, ConvGeometry& g) {
  g = conv_geometry(args, args.dx, args.w, args.g);
  return g.batch < 0 ? fail(OSC_ARGUMENT, 0, "g, w and dx do not fit each other") : ok();
}

inline Status check(const Conv2dWeightArgs& args, ConvGeometry& g) {
  g = conv_geometry(args, args.x, args.dw, args.g);
  return g.batch < 0 ? fail(OSC_ARGUMENT, 0, "x, g and dw do not fit each other") : ok();
}

}  // namespace osc
