#include "common/flat.cuh"
#include "kernels/pool_shape.h"

namespace osc {
namespace {

// Windows [first, end) of a row of `outputs` that `position` lies in.
struct Covering {
  int64_t first, end;
  __device__ Covering(int64_t position, int64_t pad, int64_t kernel, int64_t stride, int64_t outputs) {
    const int64_t last = position + pad, before = last - kernel;  // begins of windows lie after `before`, up to `last`
    first = before < 0 ? 0 : before / stride + 1;
    end = last < 0 ? 0 : min(last / stride + 1, outputs);
  }
};

template <class E>
struct AvgPoolBackward {
  PoolShape shape;
  const E* g;
  E* dx;
  bool whole;

  // The shares of an element's windows, in their order.
  __device__ void operator()(int64_t i) const {
    const int64_t row = i / shape.width, plane = row / shape.height;
    const Covering rows(row - plane * shape.height, shape.pad_top, shape.kernel_h, shape.stride_h, shape.out_h);
    const Covering columns(i - row * shape.width, shape.pad_left, shape.kernel_w, shape.stride_w, shape.out_w);
    const E* source = g + plane * shape.out_h * shape.out_w;
    E sum = 0;
    for (int64_t oy = rows.first; oy < rows.end; ++oy) {
      for (int64_t ox = columns.first; ox < columns.end; ++ox) {
        const double share = shape.share(shape.window(oy, ox), whole);
        sum += static_cast<E>(static_cast<double>(source[oy * shape.out_w + ox]) * share);
      }
    }
    dx[i] = sum;
  }
};

}  // namespace

Status avg_pool_backward(AvgPoolBackwardArgs& args, const Context&) {
  OSC_TRY(check(args));
  return with_real(args.g.dtype, [&](auto zero) {
    using E = decltype(zero);
    const AvgPoolBackward<E> shares{pool_shape(args, args.dx, args.g), data<E>(args.g), data<E>(args.dx), args.whole != 0};
    return launch_each(shares, size_of(args.dx));
  });
}

}  // namespace osc
