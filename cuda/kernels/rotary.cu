#include "common/flat.cuh"
#include "kernels/rows_check.h"

namespace osc {
namespace {

// Item k of a row: pair k, then the elements after the pairs.
template <class E>
struct Rotary {
  const E *x, *cosine, *sine;
  E* y;
  int64_t places, width, pairs;
  int64_t step, other;  // from pair to pair, and between the two of a pair
  E sign;

  __device__ void operator()(int64_t i) const {
    const int64_t items = width - pairs, row = i / items, k = i - row * items;
    const E* from = x + row * width;
    E* to = y + row * width;
    if (k >= pairs) {
      to[pairs + k] = from[pairs + k];
      return;
    }
    const int64_t angle = row % places * pairs + k;
    const E a = from[k * step], b = from[k * step + other], c = cosine[angle], turn = sign * sine[angle];
    to[k * step] = a * c - b * turn;
    to[k * step + other] = b * c + a * turn;
  }
};

}  // namespace

Status rotary(RotaryArgs& args, const Context&) {
  OSC_TRY(check(args));
  const Tensor& x = args.x;
  const int64_t places = x.shape[1], width = x.shape[2], pairs = args.cosine.shape[1];
  return with_real(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    const Rotary<E> turn{data<E>(x),
                         data<E>(args.cosine),
                         data<E>(args.sine),
                         data<E>(args.y),
                         places,
                         width,
                         pairs,
                         args.interleaved ? 2 : 1,
                         args.interleaved ? 1 : pairs,
                         args.inverse ? E(-1) : E(1)};
    return launch_each(turn, x.shape[0] * places * (width - pairs));
  });
}

}  // namespace osc
