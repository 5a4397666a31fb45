// How a weight becomes a code, as the CPU does it (native/simd/rounding.inc), for one weight at a time.
#pragma once
#include "common/gpu.cuh"
#include "simd/grid.h"

namespace osc {
namespace {

using V = float;
using I = int32_t;

__device__ inline V splat(float x) { return x; }
__device__ inline I bits_of(V x) { return bit_cast<I>(x); }
__device__ inline V of_bits(I x) { return bit_cast<V>(x); }
__device__ inline V to_real(I x) { return static_cast<V>(x); }
__device__ inline I to_integer(V x) { return static_cast<I>(x); }

#define OSC_LANES_FUNCTION __device__ inline
#include "simd/rounding.inc"
#undef OSC_LANES_FUNCTION

// A grid of the range search with what it costs. The first of the cheapest is taken, as on the CPU.
struct Candidate {
  float cost;
  int step;
};

__device__ inline Candidate cheaper(Candidate a, Candidate b) {
  return b.cost < a.cost || (b.cost == a.cost && b.step < a.step) ? b : a;
}

// The cheapest of steps first, first + every, ... of the range search; value(0), value(1), ... are summed in this order.
template <class Value>
__device__ Candidate search_range(const GridSpec& spec, float low, float high, int64_t count, const Value& value, int first,
                                  int every) {
  Candidate best{INFINITY, 0};
  for (int step = first; step < kRangeSteps; step += every) {
    const Grid grid = shrunk_grid(spec, static_cast<double>(low), static_cast<double>(high), step);
    float cost = 0;
    for (int64_t j = 0; j < count; ++j) cost += error_power(value(j), grid.scale, grid.zero, spec.maxq());
    best = cheaper(best, {cost, step});
  }
  return best;
}

}  // namespace
}  // namespace osc
