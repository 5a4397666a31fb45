#include "common/flat.cuh"
#include "kernels/pool_shape.h"

namespace osc {
namespace {

template <class E>
struct MaxPool {
  PoolShape shape;
  const E* x;
  int32_t* index;

  __device__ void operator()(int64_t i) const {
    const int64_t row = i / shape.out_w, plane = row / shape.out_h;
    const PoolShape::Window w = shape.window(row - plane * shape.out_h, i - row * shape.out_w);
    const E* source = x + plane * shape.height * shape.width;
    int64_t best = w.top * shape.width + w.left;
    E most = w.top < w.bottom && w.left < w.right ? source[best] : E(0);
    for (int64_t r = w.top; r < w.bottom; ++r) {
      for (int64_t c = w.left; c < w.right; ++c) {
        const E value = source[r * shape.width + c];
        if (!(value > most || (value != value && most == most))) continue;  // the first NaN wins
        best = r * shape.width + c;
        most = value;
      }
    }
    index[i] = static_cast<int32_t>(best);
  }
};

}  // namespace

Status max_pool(MaxPoolArgs& args, const Context&) {
  OSC_TRY(check(args));
  return with_real(args.x.dtype, [&](auto zero) {
    using E = decltype(zero);
    return launch_each(MaxPool<E>{pool_shape(args, args.x, args.index), data<E>(args.x), data<int32_t>(args.index)}, size_of(args.index));
  });
}

}  // namespace osc
