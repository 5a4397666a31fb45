// Convolution as products: a chunk of images as matrices of patches, one for each image and group.
#pragma once
#include <algorithm>

#include "common/blas.h"
#include "common/gpu.cuh"
#include "common/memory.h"
#include "kernels/conv_shape.h"

namespace osc {
namespace {

constexpr int64_t kChunkBytes = int64_t{128} << 20;  // of workspace
constexpr int kConvRows = 8;                         // of a block of 32 columns

// Images of which each needs `elements` of workspace that are taken together.
inline int64_t images_together(const ConvGeometry& g, int64_t elements, int64_t item_bytes) {
  const int64_t bytes = std::max<int64_t>(1, elements * item_bytes);
  return std::clamp<int64_t>(kChunkBytes / bytes, 1, std::max<int64_t>(1, g.batch));
}

// patches [slices, taps, places] of x [slices, channels, height, width]; a slice is one group of an image.
template <class E>
OSC_GLOBAL unfold_slices(ConvGeometry g, const E* x, E* patches, int64_t slices) {
  const int64_t taps = g.taps(), places = g.places();
  for (int64_t row = int64_t{blockIdx.y} * kConvRows + threadIdx.y; row < slices * taps; row += int64_t{gridDim.y} * kConvRows) {
    const int64_t slice = row / taps, tap = row - slice * taps, c = tap / (g.kernel_h * g.kernel_w);
    const int64_t top = tap / g.kernel_w % g.kernel_h * g.dilation_h - g.pad_top;
    const int64_t left = tap % g.kernel_w * g.dilation_w - g.pad_left;
    const E* plane = x + (slice * g.channels + c) * g.height * g.width;
    for (int64_t place = int64_t{blockIdx.x} * kWarp + threadIdx.x; place < places; place += int64_t{gridDim.x} * kWarp) {
      const int64_t oy = place / g.out_w, iy = oy * g.stride_h + top, ix = (place - oy * g.out_w) * g.stride_w + left;
      const bool inside = iy >= 0 && iy < g.height && ix >= 0 && ix < g.width;
      patches[row * places + place] = inside ? plane[iy * g.width + ix] : E(0);
    }
  }
}

// x = the transpose of unfold_slices: each element sums what its taps got, tap by tap.
template <class E>
OSC_GLOBAL fold_slices(ConvGeometry g, const E* patches, E* x, int64_t slices) {
  const int64_t taps = g.taps(), places = g.places(), pixels = g.height * g.width;
  for (int64_t plane = int64_t{blockIdx.y} * kConvRows + threadIdx.y; plane < slices * g.channels;
       plane += int64_t{gridDim.y} * kConvRows) {
    const int64_t slice = plane / g.channels, c = plane - slice * g.channels;
    const E* rows = patches + (slice * taps + c * g.kernel_h * g.kernel_w) * places;
    for (int64_t pixel = int64_t{blockIdx.x} * kWarp + threadIdx.x; pixel < pixels; pixel += int64_t{gridDim.x} * kWarp) {
      const int64_t y = pixel / g.width, down = y + g.pad_top, along = pixel - y * g.width + g.pad_left;
      E sum = 0;
      for (int64_t i = 0; i < g.kernel_h; ++i) {
        const int64_t from_top = down - i * g.dilation_h, oy = from_top / g.stride_h;
        if (from_top < 0 || oy * g.stride_h != from_top || oy >= g.out_h) continue;
        for (int64_t j = 0; j < g.kernel_w; ++j) {
          const int64_t from_left = along - j * g.dilation_w, ox = from_left / g.stride_w;
          if (from_left < 0 || ox * g.stride_w != from_left || ox >= g.out_w) continue;
          sum += rows[(i * g.kernel_w + j) * places + oy * g.out_w + ox];
        }
      }
      x[plane * pixels + pixel] = sum;
    }
  }
}

inline dim3 conv_grid(int64_t rows, int64_t columns) {
  return {grid_for(columns, 4 * kWarp, 1024), grid_for(rows, kConvRows, 65535)};
}

template <class E>
Status unfold(const ConvGeometry& g, const E* x, E* patches, int64_t images) {
  const int64_t slices = images * g.groups;
  if (slices * g.taps() * g.places() == 0) return ok();
  return launch(unfold_slices<E>, conv_grid(slices * g.taps(), g.places()), dim3(kWarp, kConvRows), 0, g, x, patches, slices);
}

template <class E>
Status fold(const ConvGeometry& g, const E* patches, E* x, int64_t images) {
  const int64_t slices = images * g.groups;
  if (slices * g.image() == 0) return ok();
  const dim3 grid = conv_grid(slices * g.channels, g.height * g.width);
  return launch(fold_slices<E>, grid, dim3(kWarp, kConvRows), 0, g, patches, x, slices);
}

// Slices and groups of products that one batched call makes: slice + i slice_step with group + i group_step.
struct ConvBatch {
  int64_t slice, slice_step, group, group_step, count;
};

// f(ConvBatch) over all images and groups, in as few calls as even steps allow.
template <class F>
Status each_batch(const ConvGeometry& g, int64_t images, F&& f) {
  if (g.groups <= images) {
    for (int64_t group = 0; group < g.groups; ++group) OSC_TRY(f(ConvBatch{group, g.groups, group, 0, images}));
  } else {
    for (int64_t n = 0; n < images; ++n) OSC_TRY(f(ConvBatch{n * g.groups, 1, 0, 1, g.groups}));
  }
  return ok();
}

inline int64_t leading(int64_t columns) { return std::max<int64_t>(1, columns); }

}  // namespace
}  // namespace osc
