// Copies of strided views in row-major order. Transposition goes through tiles, so that it reads and writes along memory.
#pragma once
#include "common/gpu.cuh"
#include "common/memory.h"
#include "core/tensor.h"

namespace osc {

// A view whose neighbouring dimensions are merged where memory allows; rank 0 is one element.
struct StridedView {
  int32_t rank;
  bool small;  // logical positions fit 31 bits
  int64_t shape[OSC_MAX_RANK], strides[OSC_MAX_RANK];
};

inline StridedView collapse(const Tensor& x) {
  StridedView view{0, size_of(x) < (int64_t{1} << 31), {}, {}};
  for (int d = 0; d < x.rank; ++d) {
    if (x.shape[d] == 1) continue;
    const int last = view.rank - 1;
    if (last >= 0 && view.strides[last] == x.strides[d] * x.shape[d]) {
      view.shape[last] *= x.shape[d];
      view.strides[last] = x.strides[d];
    } else {
      view.shape[view.rank] = x.shape[d];
      view.strides[view.rank++] = x.strides[d];
    }
  }
  return view;
}

namespace {

constexpr int kCopyThreads = 256;
constexpr int kCopyEach = 4;   // elements of a thread, a block apart from each other
constexpr int kCopyTile = 32;  // side of the tiles that are transposed

template <class Index>
__device__ int64_t offset_at(const StridedView& view, Index position) {
  int64_t offset = 0;
  for (int d = view.rank - 1; d > 0; --d) {
    const Index size = static_cast<Index>(view.shape[d]), rest = position / size;
    offset += static_cast<int64_t>(position - rest * size) * view.strides[d];
    position = rest;
  }
  return view.rank ? offset + static_cast<int64_t>(position) * view.strides[0] : 0;
}

template <class T>
OSC_GLOBAL copy_elements(StridedView view, const T* x, T* y, int64_t size) {
  const int64_t start = static_cast<int64_t>(blockIdx.x) * kCopyThreads * kCopyEach + threadIdx.x;
  for (int k = 0; k < kCopyEach; ++k) {
    const int64_t i = start + k * kCopyThreads;
    if (i >= size) return;
    y[i] = x[view.small ? offset_at(view, static_cast<uint32_t>(i)) : offset_at(view, static_cast<uint64_t>(i))];
  }
}

// Tiles of two dimensions, `fast` (neighbours in x) and the last (neighbours in y); a block finds its place in the others.
struct TransposedView {
  int32_t others;  // number of other dimensions
  int64_t shape[OSC_MAX_RANK], strides[OSC_MAX_RANK], targets[OSC_MAX_RANK];
  int64_t fast, fast_stride, fast_target, last, last_stride;
  int64_t fast_tiles, last_tiles;
};

template <class T>
OSC_GLOBAL copy_tiles(TransposedView view, const T* x, T* y) {
  OSC_SHARED(T, tile, [kCopyTile][kCopyTile + 1]);
  int64_t rest = blockIdx.x;
  const int64_t last0 = rest % view.last_tiles * kCopyTile;
  rest /= view.last_tiles;
  const int64_t fast0 = rest % view.fast_tiles * kCopyTile;
  rest /= view.fast_tiles;
  int64_t source = fast0 * view.fast_stride + last0 * view.last_stride, target = fast0 * view.fast_target + last0;
  for (int d = view.others - 1; d >= 0; --d) {
    source += rest % view.shape[d] * view.strides[d];
    target += rest % view.shape[d] * view.targets[d];
    rest /= view.shape[d];
  }
  const int fast = static_cast<int>(min(view.fast - fast0, int64_t{kCopyTile}));
  const int last = static_cast<int>(min(view.last - last0, int64_t{kCopyTile}));
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = static_cast<int>(threadIdx.y); i < last; i += static_cast<int>(blockDim.y)) {
    if (lane < fast) tile[i][lane] = x[source + lane * view.fast_stride + i * view.last_stride];
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.y); i < fast; i += static_cast<int>(blockDim.y)) {
    if (lane < last) y[target + i * view.fast_target + lane] = tile[lane][i];
  }
}

// Whether the view is read along another dimension than it is written along, both long enough to be cut into tiles.
inline bool transposed(const StridedView& view, TransposedView* tiles) {
  const int last = view.rank - 1;
  if (last < 1) return false;
  int fast = last;
  for (int d = 0; d < last; ++d) {
    const int64_t stride = view.strides[d] < 0 ? -view.strides[d] : view.strides[d];
    const int64_t best = view.strides[fast] < 0 ? -view.strides[fast] : view.strides[fast];
    if (stride < best && view.shape[d] >= kCopyTile / 2) fast = d;
  }
  if (fast == last || view.shape[last] < kCopyTile / 2) return false;
  *tiles = {};
  int64_t target = 1;
  int32_t others = view.rank - 2, next = others;
  for (int d = last; d >= 0; --d) {
    if (d == fast) tiles->fast_target = target;
    else if (d != last) {
      --next;
      tiles->shape[next] = view.shape[d];
      tiles->strides[next] = view.strides[d];
      tiles->targets[next] = target;
    }
    target *= view.shape[d];
  }
  tiles->others = others;
  tiles->fast = view.shape[fast];
  tiles->fast_stride = view.strides[fast];
  tiles->last = view.shape[last];
  tiles->last_stride = view.strides[last];
  tiles->fast_tiles = blocks_for(tiles->fast, kCopyTile);
  tiles->last_tiles = blocks_for(tiles->last, kCopyTile);
  return true;
}

// y = x in row-major order; x has one element or more.
template <class T>
Status copy_view(const Tensor& x, T* y) {
  const StridedView view = collapse(x);
  TransposedView tiles;
  if (transposed(view, &tiles)) {
    const int64_t blocks = size_of(x) / (tiles.fast * tiles.last) * tiles.fast_tiles * tiles.last_tiles;
    return launch(copy_tiles<T>, dim3(static_cast<unsigned>(blocks)), dim3(kCopyTile, 8), 0, tiles, data<const T>(x), y);
  }
  const int64_t size = size_of(x), blocks = blocks_for(size, kCopyThreads * kCopyEach);
  return launch(copy_elements<T>, dim3(static_cast<unsigned>(blocks)), dim3(kCopyThreads), 0, view, data<const T>(x), y, size);
}

// The same for any dtype. A copy that changes no type moves bits: four sizes of elements are enough.
inline Status copy_bits(const Tensor& x, void* y) {
  const int64_t size = size_of(x), item = item_bytes(x.dtype);
  if (size == 0) return ok();
  if (is_contiguous(x)) return copy_on_device(y, x.data, size * item);
  switch (item) {
    case 1: return copy_view(x, static_cast<uint8_t*>(y));
    case 2: return copy_view(x, static_cast<uint16_t*>(y));
    case 4: return copy_view(x, static_cast<uint32_t*>(y));
    default: return copy_view(x, static_cast<uint64_t*>(y));
  }
}

// The rows of a matrix, contiguous and one after the other: x itself, or a copy in `buffer`.
template <class T>
Status contiguous_rows(const Tensor& x, DeviceBuffer<T>& buffer, const T** rows) {
  *rows = data<const T>(x);
  if (is_contiguous(x) || size_of(x) == 0) return ok();
  buffer = DeviceBuffer<T>(size_of(x));
  if (!buffer) return buffer.status();
  *rows = buffer.get();
  return copy_view(x, buffer.get());
}

}  // namespace
}  // namespace osc
