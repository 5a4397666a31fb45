// One image and group as a matrix of patches.
#pragma once
#include "../core/blas.h"
#include "../core/memory.h"
#include "../core/parallel.h"
#include "conv_shape.h"
#include "rows.h"

namespace osc {

struct ConvPatches : ConvGeometry {
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

}  // namespace osc
