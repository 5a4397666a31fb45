// The Gram kernels against sums in double, over sizes around tiles, chunks and batches.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "kernels.h"
#include "owned.h"

using namespace osc;
using namespace osc::test;

namespace {

constexpr int64_t kChunk = 2048;

struct Gram {
  explicit Gram(int64_t columns) : in(columns), staging({kChunk, columns}), sums({columns, columns}) {}

  Status add(const Tensor& x) {
    InputGramArgs args;
    args.x = x;
    args.staging = staging.view();
    args.accumulator = sums.view();
    args.staged = staged;
    const Status status = run("input_gram", args);
    if (status.code == OSC_OK) staged = args.new_staged;
    return status;
  }

  Owned<double> matrix(double scale) {
    Owned<double> result({in, in});
    GramMatrixArgs args;
    args.staging = staging.view();
    args.accumulator = sums.view();
    args.matrix = result.view();
    args.staged = staged;
    args.scale = scale;
    REQUIRE(run("gram_matrix", args).code == OSC_OK);
    return result;
  }

  int64_t in, staged = 0;
  Owned<float> staging;
  Owned<double> sums;
};

Owned<float> tokens(int64_t count, int64_t in, uint64_t seed) {
  Random random(seed);
  Owned<float> x({count, in});
  x.fill([&](int64_t) { return random.next(); });
  return x;
}

void check_gram(const Owned<double>& matrix, const Owned<float>& x, int64_t count, int64_t in, double scale) {
  for (int64_t i = 0; i < in; ++i) {
    for (int64_t j = 0; j < in; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t t = 0; t < count; ++t) {
        const double product = static_cast<double>(x[t * in + i]) * x[t * in + j];
        sum += product;
        magnitude += std::abs(product);
      }
      const double tolerance = scale * magnitude * static_cast<double>(std::min(count, kChunk)) * 0x1p-23;
      REQUIRE(std::abs(matrix[i * in + j] - scale * sum) <= tolerance);
    }
  }
}

}  // namespace

TEST_CASE("input_gram and gram_matrix give scale * X^T X, both halves") {
  for (const auto& [count, in] : {std::pair<int64_t, int64_t>{1, 1}, {3, 7}, {50, 49}, {2100, 17}, {130, 400}}) {
    CAPTURE(count);
    CAPTURE(in);
    const Owned<float> x = tokens(count, in, 1);
    Gram gram(in);
    REQUIRE(gram.add(x.view()).code == OSC_OK);
    CHECK(gram.staged == count % kChunk);
    check_gram(gram.matrix(2.0 / static_cast<double>(count)), x, count, in, 2.0 / static_cast<double>(count));
  }
}

TEST_CASE("the Gram matrix depends neither on batches nor on threads") {
  const int64_t count = 4500, in = 33;
  const Owned<float> x = tokens(count, in, 2);
  Gram whole(in);
  REQUIRE(whole.add(x.view()).code == OSC_OK);
  const int before = thread_count();
  set_thread_count(3);
  Gram parts(in);
  for (int64_t from = 0, size = 1; from < count; from += size, size = size * 3 + 1) {
    Tensor part = x.view();
    part.data = &x[from * in];
    part.shape[0] = std::min(size, count - from);
    REQUIRE(parts.add(part).code == OSC_OK);
  }
  set_thread_count(before);
  CHECK(parts.matrix(1).same_bits(whole.matrix(1)));
}

TEST_CASE("a token that is not finite changes nothing and is named") {
  Gram gram(5);
  REQUIRE(gram.add(tokens(7, 5, 3).view()).code == OSC_OK);
  const Owned<double> before = gram.matrix(1);
  Owned<float> bad = tokens(9, 5, 4);
  bad[23] = std::numeric_limits<float>::quiet_NaN();
  const Status status = gram.add(bad.view());
  CHECK(status.code == OSC_NON_FINITE);
  CHECK(status.index == 23);
  CHECK(gram.matrix(1).same_bits(before));
}

TEST_CASE("unfold_gram is input_gram of the patches, group by group") {
  const int64_t batch = 2, channels = 4, height = 7, width = 9, groups = 2;
  const int64_t kernel_h = 3, kernel_w = 2, stride_h = 2, stride_w = 1, dilation_w = 2;
  const int64_t pad_top = 1, pad_left = 2, pad_bottom = 0, pad_right = 1;
  const int64_t out_h = (height + pad_top + pad_bottom - kernel_h) / stride_h + 1;
  const int64_t out_w = (width + pad_left + pad_right - (dilation_w * (kernel_w - 1) + 1)) / stride_w + 1;
  const int64_t per_group = channels / groups, k = per_group * kernel_h * kernel_w, patches = batch * out_h * out_w;
  const Owned<float> image = [&] {
    Random random(5);
    Owned<float> x({batch, channels, height, width});
    x.fill([&](int64_t) { return random.next(); });
    return x;
  }();

  UnfoldGramArgs args;
  Owned<float> staging({groups, kChunk, k});
  Owned<double> sums({groups, k, k});
  args.x = image.view();
  args.staging = staging.view();
  args.accumulator = sums.view();
  args.groups = groups;
  args.kernel_h = kernel_h, args.kernel_w = kernel_w;
  args.stride_h = stride_h, args.stride_w = stride_w;
  args.pad_top = pad_top, args.pad_left = pad_left, args.pad_bottom = pad_bottom, args.pad_right = pad_right;
  args.dilation_h = 1, args.dilation_w = dilation_w;
  REQUIRE(run("unfold_gram", args).code == OSC_OK);
  CHECK(args.new_staged == patches);

  for (int64_t group = 0; group < groups; ++group) {
    int64_t row = 0;
    for (int64_t n = 0; n < batch; ++n) {
      for (int64_t y = 0; y < out_h; ++y) {
        for (int64_t x = 0; x < out_w; ++x, ++row) {
          for (int64_t i = 0; i < k; ++i) {
            const int64_t channel = group * per_group + i / (kernel_h * kernel_w);
            const int64_t v = y * stride_h - pad_top + i / kernel_w % kernel_h;
            const int64_t u = x * stride_w - pad_left + i % kernel_w * dilation_w;
            const bool inside = v >= 0 && v < height && u >= 0 && u < width;
            const float expected = inside ? image[((n * channels + channel) * height + v) * width + u] : 0.0F;
            REQUIRE(staging[(group * kChunk + row) * k + i] == expected);
          }
        }
      }
    }
  }
}
