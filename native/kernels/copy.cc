#include <cstring>

#include "../kernels.h"
#include "elementwise.h"
#include "elementwise_check.h"

namespace osc {
namespace {

template <class Item>
bool copy_items(const Tensor& x, const Tensor& y, const Context& context) {
  const Walk<2> walk({&x, &y});
  const int64_t from_step = walk.inner_stride(0), to_step = walk.inner_stride(1);
  return parallel_for((size_of(y) + kElementTile - 1) / kElementTile, context, [&](int64_t tile) {
    walk.each_run(tile * kElementTile, std::min(size_of(y), (tile + 1) * kElementTile), kElementTile,
                  [&](int64_t, int64_t count, const int64_t* offsets) {
                    const Item* from = data<Item>(x) + offsets[0];
                    Item* to = data<Item>(y) + offsets[1];
                    if (from_step == 1 && to_step == 1) {
                      std::memcpy(to, from, static_cast<size_t>(count) * sizeof(Item));
                    } else {
                      for (int64_t i = 0; i < count; ++i) to[i * to_step] = from[i * from_step];
                    }
                  });
  });
}

}  // namespace

Status copy(CopyArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &x = args.x, &y = args.y;
  bool done = true;
  switch (item_bytes(y.dtype)) {
    case 1: done = copy_items<uint8_t>(x, y, context); break;
    case 2: done = copy_items<uint16_t>(x, y, context); break;
    case 4: done = copy_items<uint32_t>(x, y, context); break;
    default: done = copy_items<uint64_t>(x, y, context); break;
  }
  return done ? ok() : aborted();
}

}  // namespace osc
