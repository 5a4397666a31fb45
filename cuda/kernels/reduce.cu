#include <algorithm>
#include <cstdlib>
#include <limits>

#include "common/elementwise.cuh"
#include "kernels/elementwise_check.h"

namespace osc {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostSegments = 1024, kMostBlocks = 1024;

template <class E>
struct Total {
  using Kept = double;
  static __device__ double start() { return 0; }
  static __device__ double combine(double a, double b) { return a + b; }
};

template <class E>
struct Maximum {
  using Kept = E;
  static __device__ E start() { return -std::numeric_limits<E>::infinity(); }
  static __device__ E combine(E a, E b) { return binary_formula<kMaximum>(a, b); }
};

// How the threads of a block share its outputs and the inputs of each, from shapes and strides alone.
struct Tiles {
  Views<1> outputs, inputs;
  int64_t output_count, input_count, segments = 1;
  int lanes = 1;        // threads of an output; a power of two
  bool across = false;  // neighbouring threads have neighbouring outputs, not inputs

  Tiles(const Walk<1>& kept, const Walk<1>& reduced, int64_t outputs_of_x, int64_t inputs_of_x)
      : outputs(kept, outputs_of_x), inputs(reduced, inputs_of_x), output_count(outputs_of_x), input_count(inputs_of_x) {
    across = kept.inner() > 1 && std::abs(kept.inner_stride(0)) < std::abs(reduced.inner_stride(0));
    int64_t most = kThreads;
    for (int64_t neighbours = 1; across && neighbours < kWarp && neighbours < output_count; neighbours *= 2) most /= 2;
    while (lanes < most && 4 * lanes < input_count) lanes *= 2;
  }
  OSC_HOST_DEVICE int outputs_each() const { return kThreads / lanes; }
  int64_t blocks() const { return blocks_for(output_count, outputs_each()); }
  // Few outputs: the inputs are cut into segments, whose results are reduced by a second launch.
  void cut() {
    segments = std::clamp<int64_t>(std::min(input_count / (16 * lanes), kMostBlocks / blocks()), 1, kMostSegments);
  }
};

// Block (outputs, segment). Partial results when there are several segments, [segments, outputs]; y when there is one.
template <class Op, class In, class E>
OSC_GLOBAL reduce_tiles(Tiles tiles, const In* x, typename Op::Kept* partials, E* y, double scale) {
  using Kept = typename Op::Kept;
  OSC_SHARED(Kept, kept, [kThreads]);
  const int thread = static_cast<int>(threadIdx.x), lanes = tiles.lanes, each = tiles.outputs_each();
  const int lane = tiles.across ? thread / each : thread % lanes, own = tiles.across ? thread % each : thread / lanes;
  const int64_t output = int64_t{blockIdx.x} * each + own, segment = blockIdx.y;
  Kept value = Op::start();
  if (output < tiles.output_count) {
    int64_t at[1];
    tiles.outputs.offsets(output, at);
    const In* source = x + at[0];
    const int64_t end = tiles.input_count * (segment + 1) / tiles.segments;
    for (int64_t i = tiles.input_count * segment / tiles.segments + lane; i < end; i += lanes) {
      tiles.inputs.offsets(i, at);
      value = Op::combine(value, static_cast<Kept>(source[at[0]]));
    }
  }
  Kept& slot = kept[lane * each + own];
  slot = value;
  for (int step = lanes / 2; step > 0; step /= 2) {
    __syncthreads();
    if (lane < step) slot = Op::combine(slot, kept[(lane + step) * each + own]);
  }
  if (lane != 0 || output >= tiles.output_count) return;
  if (tiles.segments > 1) partials[segment * tiles.output_count + output] = slot;
  else y[output] = static_cast<E>(static_cast<double>(slot) * scale);
}

template <class Op, class E>
Status run(const ReduceArgs& args) {
  using Kept = typename Op::Kept;
  const ReducedViews views(args.x, args.y);
  if (views.output_count == 0) return ok();
  Tiles tiles(views.outputs, views.inputs, views.output_count, views.input_count);
  tiles.cut();
  DeviceBuffer<Kept> partials(tiles.segments > 1 ? tiles.segments * tiles.output_count : 0);
  if (!partials) return partials.status();
  const dim3 grid(static_cast<unsigned>(tiles.blocks()), static_cast<unsigned>(tiles.segments));
  OSC_TRY(launch(reduce_tiles<Op, E, E>, grid, kThreads, 0, tiles, data<E>(args.x), partials.get(), data<E>(args.y), args.scale));
  if (tiles.segments == 1) return ok();
  Tensor outputs{}, segments{};
  outputs.rank = segments.rank = 1;
  outputs.shape[0] = tiles.output_count, outputs.strides[0] = 1;
  segments.shape[0] = tiles.segments, segments.strides[0] = tiles.output_count;
  const Tiles rest(Walk<1>({&outputs}), Walk<1>({&segments}), tiles.output_count, tiles.segments);
  return launch(reduce_tiles<Op, Kept, E>, static_cast<unsigned>(rest.blocks()), kThreads, 0, rest, partials.get(),
                partials.get(), data<E>(args.y), args.scale);
}

}  // namespace

Status reduce(ReduceArgs& args, const Context&) {
  OSC_TRY(check(args));
  return with_real(args.x.dtype, [&](auto zero) {
    using E = decltype(zero);
    return args.op == kReduceSum ? run<Total<E>, E>(args) : run<Maximum<E>, E>(args);
  });
}

}  // namespace osc
