#include "common/elementwise.cuh"
#include "common/strided.cuh"
#include "kernels/elementwise_check.h"

namespace osc {
namespace {

template <class Item>
struct Move {
  Views<2> views;
  const Item* x;
  Item* y;
  __device__ void operator()(int64_t i) const {
    int64_t at[2];
    views.offsets(i, at);
    y[at[1]] = x[at[0]];
  }
};

template <class Item>
Status move_items(const Tensor& x, const Tensor& y, int64_t size) {
  return launch_each(Move<Item>{Views<2>(Walk<2>({&x, &y}), size), data<Item>(x), data<Item>(y)}, size);
}

}  // namespace

Status copy(CopyArgs& args, const Context&) {
  OSC_TRY(check(args));
  const Tensor &x = args.x, &y = args.y;
  const int64_t size = size_of(y);
  if (is_contiguous(y)) return copy_bits(x, y.data);
  switch (item_bytes(y.dtype)) {
    case 1: return move_items<uint8_t>(x, y, size);
    case 2: return move_items<uint16_t>(x, y, size);
    case 4: return move_items<uint32_t>(x, y, size);
    default: return move_items<uint64_t>(x, y, size);
  }
}

}  // namespace osc
