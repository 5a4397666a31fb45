#include "common/teams.cuh"

namespace osc {
namespace {

template <class E>
struct Best {
  E value;
  int64_t index;

  // Of equal ones the first; a NaN is the largest.
  __device__ void take(E other, int64_t at) {
    const bool here = value != value, there = other != other;
    const bool larger = there ? !here : other > value, equal = there ? here : other == value;
    if (!larger && !(equal && at < index)) return;
    value = other;
    index = at;
  }
  __device__ void take_lanes() {
    for (int step = kWarp / 2; step > 0; step /= 2) {
      const E other = __shfl_xor_sync(0xFFFFFFFFu, value, step);
      const int64_t at = __shfl_xor_sync(0xFFFFFFFFu, index, step);
      take(other, at);
    }
  }
};

template <class E>
struct Argmax {
  const E* x;
  int32_t* index;
  int64_t length;

  template <class Team>
  __device__ void operator()(const Team& team, int64_t row) const {
    const E* values = x + row * length;
    // A thread without elements of its own begins with the first one.
    Best<E> best{values[0], 0};
    for (int64_t i = team.member; i < length; i += Team::kSize) best.take(values[i], i);
    best.take_lanes();
    if constexpr (Team::kSize > kWarp) {
      OSC_SHARED(E, largest, [kTeamThreads / kWarp]);
      OSC_SHARED(int64_t, places, [kTeamThreads / kWarp]);
      if (team.member % kWarp == 0) {
        largest[team.member / kWarp] = best.value;
        places[team.member / kWarp] = best.index;
      }
      __syncthreads();
      if (team.member == 0) {
        for (int w = 1; w < kTeamThreads / kWarp; ++w) best.take(largest[w], places[w]);
      }
      __syncthreads();  // the next row writes them again
    }
    if (team.member == 0) index[row] = static_cast<int32_t>(best.index);
  }
};

}  // namespace

Status argmax(ArgmaxArgs& args, const Context&) {
  OSC_TRY(check(args));
  const Tensor& x = args.x;
  return with_real(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    return launch_rows(Argmax<E>{data<E>(x), data<int32_t>(args.index), x.shape[1]}, x.shape[0], x.shape[1]);
  });
}

}  // namespace osc
