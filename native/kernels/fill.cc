#include <algorithm>

#include "../core/parallel.h"
#include "../core/scalar.h"
#include "../kernels.h"

namespace osc {

Status fill(FillArgs& args, const Context& context) {
  constexpr int64_t kTile = 1 << 18;
  if (!is_contiguous(args.y)) return fail(OSC_ARGUMENT, 0, "y must be contiguous");
  const int64_t size = size_of(args.y);
  const bool done = with_type(args.y.dtype, [&](auto to) {
    using To = decltype(to);
    const To value = convert_element<To>(args.value);
    To* target = data<To>(args.y);
    return parallel_for((size + kTile - 1) / kTile, context, [&](int64_t tile) {
      std::fill(target + tile * kTile, target + std::min(size, (tile + 1) * kTile), value);
    });
  });
  return done ? ok() : aborted();
}

}  // namespace osc
