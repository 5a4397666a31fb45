// Common parts of the convolution kernels: the geometry, and one image and group as a matrix of patches.
#pragma once
#include "../core/blas.h"
#include "../core/memory.h"
#include "../core/parallel.h"
#include "rows.h"

namespace osc {

// One image and group: x [channels, height, width], w [outputs, channels, kernel_h, kernel_w], y [outputs, out_h, out_w].
struct ConvGeometry {
  int64_t batch, groups, channels, height, width, outputs, out_h, out_w, kernel_h, kernel_w;
  int64_t stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;

  int64_t taps() const { return channels * kernel_h * kernel_w; }  // rows of the patch matrix
  int64_t places() const { return out_h * out_w; }                 // its columns
  int64_t image() const { return channels * height * width; }
  int64_t result() const { return outputs * places(); }
  int64_t filter() const { return outputs * taps(); }
  // The patch matrix is the image itself.
  bool plain() const {
    return kernel_h == 1 && kernel_w == 1 && stride_h == 1 && stride_w == 1 && pad_top == 0 && pad_left == 0 &&
           out_h == height && out_w == width;
  }

  // Columns [first, end) of the outputs in a row whose tap lies inside the image, for the tap at `shift` = kernel offset - pad.
  static void inside(int64_t shift, int64_t stride, int64_t length, int64_t out, int64_t& first, int64_t& end) {
    first = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
    end = shift >= length ? 0 : (length - shift + stride - 1) / stride;
    first = std::min(first, out);
    end = std::clamp(end, first, out);
  }

  // f(row of the patch matrix, output row, first and end column, image element of the first, steps of the image).
  // f_zero(row, output row, first, end): the columns that lie outside.
  template <class F, class Zero>
  void each_patch_row(F&& f, Zero&& f_zero) const {
    for (int64_t row = 0; row < taps(); ++row) {
      const int64_t c = row / (kernel_h * kernel_w), i = row / kernel_w % kernel_h, j = row % kernel_w;
      const int64_t shift = j * dilation_w - pad_left;
      int64_t first, end;
      inside(shift, stride_w, width, out_w, first, end);
      for (int64_t oy = 0; oy < out_h; ++oy) {
        const int64_t iy = oy * stride_h - pad_top + i * dilation_h;
        if (iy < 0 || iy >= height || first >= end) {
          f_zero(row, oy, int64_t{0}, out_w);
          continue;
        }
        f_zero(row, oy, int64_t{0}, first);
        f_zero(row, oy, end, out_w);
        f(row, oy, first, end, (c * height + iy) * width + first * stride_w + shift);
      }
    }
  }

  template <class E>
  void unfold(const E* x, E* patches) const {
    each_patch_row(
        [&](int64_t row, int64_t oy, int64_t first, int64_t end, int64_t from) {
          E* target = patches + row * places() + oy * out_w;
          if (stride_w == 1) std::copy_n(x + from, end - first, target + first);
          else
            for (int64_t ox = first; ox < end; ++ox) target[ox] = x[from + (ox - first) * stride_w];
        },
        [&](int64_t row, int64_t oy, int64_t first, int64_t end) {
          std::fill(patches + row * places() + oy * out_w + first, patches + row * places() + oy * out_w + end, E(0));
        });
  }

  // x += the transpose of unfold, patch row by patch row.
  template <class E>
  void fold(const E* patches, E* x) const {
    each_patch_row(
        [&](int64_t row, int64_t oy, int64_t first, int64_t end, int64_t from) {
          const E* source = patches + row * places() + oy * out_w;
          for (int64_t ox = first; ox < end; ++ox) x[from + (ox - first) * stride_w] += source[ox];
        },
        [](int64_t, int64_t, int64_t, int64_t) {});
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

}  // namespace osc
