#include <algorithm>
#include <cstring>

#include "../core/parallel.h"
#include "../core/scalar.h"
#include "checks.h"

namespace osc {
namespace {

constexpr int64_t kTile = 1 << 16;  // elements

// Walks a strided view from logical position `start`, a run of the innermost dimension at a time.
template <class F>
void each_run(const Tensor& x, int64_t start, int64_t end, F&& f) {
  const int64_t inner = x.rank ? x.shape[x.rank - 1] : 1;
  const int64_t stride = x.rank ? x.strides[x.rank - 1] : 1;
  for (int64_t position = start; position < end;) {
    int64_t rest = position / inner, offset = (position % inner) * stride;
    for (int d = x.rank - 2; d >= 0; --d) {
      offset += (rest % x.shape[d]) * x.strides[d];
      rest /= x.shape[d];
    }
    const int64_t run = std::min(inner - position % inner, end - position);
    f(position, offset, stride, run);
    position += run;
  }
}

}  // namespace

Status convert(ConvertArgs& args, const Context& context) {
  const Tensor &x = args.x, &y = args.y;
  const int64_t size = size_of(y);
  OSC_TRY(check(args));
  const int64_t tiles = (size + kTile - 1) / kTile;
  const bool plain = x.dtype == y.dtype && is_contiguous(x);
  const bool done = with_type(x.dtype, [&](auto from) {
    using From = decltype(from);
    return with_type(y.dtype, [&](auto to) {
      using To = decltype(to);
      const From* source = data<From>(x);
      To* target = data<To>(y);
      return parallel_for(tiles, context, [&](int64_t tile) {
        const int64_t start = tile * kTile, end = std::min(size, start + kTile);
        if (plain) {
          std::memcpy(target + start, source + start, static_cast<size_t>(end - start) * sizeof(To));
          return;
        }
        each_run(x, start, end, [&](int64_t position, int64_t offset, int64_t stride, int64_t run) {
          for (int64_t i = 0; i < run; ++i) target[position + i] = convert_element<To>(source[offset + i * stride]);
        });
      });
    });
  });
  return done ? ok() : aborted();
}

}  // namespace osc
