#include <limits>

#include "kernel_case.h"
#include "kernels/checks.h"

using namespace osc;
using namespace osc::test;

namespace {

// Tokens of one call that fill chunks, leave a rest, or fill none; float32 products of a chunk may be summed in another order.
constexpr double kChunkSum = 2048;

template <class Accumulator>
void accumulate(int64_t in, int64_t tokens, int64_t staged) {
  const Owned<float> x = random_tensor<float>({tokens, in + 1}, 1), staging = random_tensor<float>({kGramChunk, in}, 2);
  const Owned<Accumulator> accumulator = random_tensor<Accumulator>({in, in}, 3);
  InputGramArgs args;
  args.x = x.view();
  args.x.shape[1] = in;
  args.staging = staging.view(), args.accumulator = accumulator.view(), args.staged = staged;
  // float32 sums of squares reach the number of tokens; the accumulator may be a double. After a full chunk the rows behind
  // the staged ones are anybody's.
  const double factor = kChunkSum * (sizeof(Accumulator) == 8 ? 0x1p29 : 1), rest = staged + tokens < kGramChunk ? 0 : 0x1p30;
  CHECK(same_as_cpu(args, {{"accumulator", {factor}}, {"staging", {rest}}}) == OSC_OK);
  if (tokens == 0) return;
  x[(tokens - 1) * (in + 1)] = std::numeric_limits<float>::infinity();
  CHECK(same_as_cpu(args) == OSC_NON_FINITE);
}

}  // namespace

KERNEL_TEST(input_gram) {
  for (const int64_t in : {1, 33}) {
    accumulate<double>(in, 0, 5);
    accumulate<double>(in, 10, 0);
    accumulate<double>(in, 100, 2000);
    accumulate<double>(in, 4200, 3);
    accumulate<float>(in, 2048, 0);
  }
}

KERNEL_TEST(unfold_gram) {
  struct Setting {
    int64_t batch, channels, height, width, groups, kernel, stride, pad, dilation;
  };
  for (const Setting& s : {Setting{1, 1, 3, 3, 1, 3, 1, 0, 1}, Setting{2, 4, 9, 8, 2, 3, 2, 1, 1}, Setting{1, 3, 50, 45, 1, 3, 1, 2, 2}}) {
    const int64_t k = s.channels / s.groups * s.kernel * s.kernel;
    const Owned<float> x = random_tensor<float>({s.batch, s.channels, s.height, s.width}, 1);
    const Owned<float> staging = random_tensor<float>({s.groups, kGramChunk, k}, 2);
    const Owned<double> accumulator = random_tensor<double>({s.groups, k, k}, 3);
    UnfoldGramArgs args;
    args.x = x.view(), args.staging = staging.view(), args.accumulator = accumulator.view();
    args.staged = 17, args.groups = s.groups, args.kernel_h = args.kernel_w = s.kernel, args.stride_h = args.stride_w = s.stride;
    args.pad_top = args.pad_left = s.pad, args.pad_bottom = s.pad + 1, args.pad_right = s.pad;
    args.dilation_h = args.dilation_w = s.dilation;
    CHECK(same_as_cpu(args, {{"accumulator", {kChunkSum * 0x1p29}}}) == OSC_OK);
    x[5] = std::numeric_limits<float>::quiet_NaN();
    CHECK(same_as_cpu(args) == OSC_NON_FINITE);
  }
}

KERNEL_TEST(gram_matrix) {
  for (const int64_t in : {1, 70}) {
    for (const int64_t staged : {0, 5, 1000}) {
      const Owned<float> staging = random_tensor<float>({kGramChunk, in}, 1), single = random_tensor<float>({in, in}, 2), to_single({in, in});
      const Owned<double> accumulator = random_tensor<double>({in, in}, 2), matrix({in, in});
      GramMatrixArgs args;
      args.staging = staging.view(), args.accumulator = accumulator.view(), args.matrix = matrix.view(), args.staged = staged;
      args.scale = 0.01;
      CHECK(same_as_cpu(args, {{"matrix", {kChunkSum * 0x1p29}}}) == OSC_OK);
      args.accumulator = single.view(), args.matrix = to_single.view();
      CHECK(same_as_cpu(args, {{"matrix", {kChunkSum}}}) == OSC_OK);
    }
  }
}
