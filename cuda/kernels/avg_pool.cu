#include "common/flat.cuh"
#include "kernels/pool_shape.h"

namespace osc {
namespace {

template <class E>
struct AvgPool {
  PoolShape shape;
  const E* x;
  E* y;
  bool whole;

  __device__ void operator()(int64_t i) const {
    const int64_t row = i / shape.out_w, plane = row / shape.out_h;
    const PoolShape::Window w = shape.window(row - plane * shape.out_h, i - row * shape.out_w);
    const E* source = x + plane * shape.height * shape.width;
    double sum = 0;
    for (int64_t r = w.top; r < w.bottom; ++r) {
      for (int64_t c = w.left; c < w.right; ++c) sum += static_cast<double>(source[r * shape.width + c]);
    }
    y[i] = static_cast<E>(sum * shape.share(w, whole));
  }
};

}  // namespace

Status avg_pool(AvgPoolArgs& args, const Context&) {
  OSC_TRY(check(args));
  return with_real(args.x.dtype, [&](auto zero) {
    using E = decltype(zero);
    const AvgPool<E> windows{pool_shape(args, args.x, args.y), data<E>(args.x), data<E>(args.y), args.whole != 0};
    return launch_each(windows, size_of(args.y));
  });
}

}  // namespace osc
