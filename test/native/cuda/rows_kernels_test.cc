// Kernels that work row by row: softmax, losses, normalization, indices.
#include <array>
#include <limits>

#include "kernel_case.h"

using namespace osc;
using namespace osc::test;

namespace {

// Rows of a warp and of a block, none, one, and more rows than a block has warps.
const std::vector<std::vector<int64_t>> kMatrices = {{0, 3}, {3, 0}, {1, 1}, {19, 33}, {2, 1025}, {5, 2000}};

template <class T>
void put_specials(const Owned<T>& x) {
  const T inf = std::numeric_limits<T>::infinity();
  if (x.size() < 100) return;
  x[3] = inf, x[40] = -inf, x[70] = std::numeric_limits<T>::quiet_NaN();
}

template <class T>
void softmaxes() {
  for (const auto& shape : kMatrices) {
    const Owned<T> x = random_tensor<T>(shape, 1), y(shape);
    for (const bool special : {false, true}) {
      if (special) put_specials(x);
      for (const int64_t causal : {int64_t{0}, shape[0]}) {
        for (const int64_t log : {0, 1}) {
          SoftmaxArgs args;
          args.x = x.view(), args.y = y.view(), args.scale = 0.7, args.log = log, args.causal_rows = causal;
          // An exponential or logarithm of a few ulp each, and what a sum of exponentials in float64 makes of them.
          CHECK(same_as_cpu(args, {{"y", {16}}}) == OSC_OK);
        }
      }
    }
  }
}

template <class T>
void softmaxes_backward() {
  for (const auto& shape : kMatrices) {
    const Owned<T> y = random_tensor<T>(shape, 1), g = random_tensor<T>(shape, 2), dx(shape);
    for (const int64_t log : {0, 1}) {
      SoftmaxBackwardArgs args;
      args.y = y.view(), args.g = g.view(), args.dx = dx.view(), args.scale = 0.7, args.log = log;
      // Between doubles the order of the sum shows.
      CHECK(same_as_cpu(args, {{"dx", {sizeof(T) == 4 ? 8.0 : 8.0 + static_cast<double>(shape[1])}}}) == OSC_OK);
    }
  }
}

const std::vector<std::vector<int64_t>> kLogits = {{0, 3}, {1, 1}, {19, 33}, {2, 1025}, {40, 1500}};

// Every fifth row is ignored.
Owned<int32_t> targets(int64_t rows, int64_t classes) {
  Owned<int32_t> target({rows});
  target.fill([&](int64_t r) { return r % 5 == 3 ? -100 : r * 7 % classes; });
  return target;
}

template <class T>
void losses() {
  for (const auto& shape : kLogits) {
    const Owned<T> x = random_tensor<T>(shape, 1), loss({shape[0]}), log_sum({shape[0]});
    const Owned<int32_t> target = targets(shape[0], shape[1]);
    CrossEntropyArgs args;
    args.x = x.view(), args.target = target.view(), args.loss = loss.view(), args.log_sum = log_sum.view();
    args.ignore = 1, args.ignore_index = -100;
    CHECK(same_as_cpu(args, {{"loss", {16}}, {"log_sum", {16}}}) == OSC_OK);
    if (shape[0] < 2) continue;
    target[1] = static_cast<int32_t>(shape[1]);
    CHECK(same_as_cpu(args) == OSC_ARGUMENT);
  }
}

template <class T>
void losses_backward() {
  for (const auto& shape : kLogits) {
    const Owned<T> x = random_tensor<T>(shape, 1), log_sum = random_tensor<T>({shape[0]}, 2);
    const Owned<T> weight = random_tensor<T>({shape[0]}, 3), dx(shape);
    const Owned<int32_t> target = targets(shape[0], shape[1]);
    for (const int64_t ignore : {0, 1}) {  // a row without a class gets 0 all the same
      CrossEntropyBackwardArgs args;
      args.x = x.view(), args.target = target.view(), args.log_sum = log_sum.view(), args.weight = weight.view();
      args.dx = dx.view(), args.ignore = ignore, args.ignore_index = 0;
      CHECK(same_as_cpu(args, {{"dx", {16}}}) == OSC_OK);
    }
  }
}

const std::vector<std::vector<int64_t>> kOuterRows = {{1, 0, 3}, {1, 3, 0}, {1, 1, 1}, {1, 19, 33}, {4, 7, 9}, {300, 5, 1}, {1, 2, 1500}, {3, 2, 700}};

// Sums in float64, rounded once; between doubles their order shows.
template <class T>
double sums_of(const std::vector<int64_t>& shape) {
  return sizeof(T) == 4 ? 4 : 4 + static_cast<double>(shape[0] * shape[2]);
}

template <class T>
void normalizations() {
  for (const auto& shape : kOuterRows) {
    Owned<T> x = random_tensor<T>(shape, 1);
    x.fill([&](int64_t i) { return x[i] + 3; });
    const Owned<T> y(shape), mean({shape[1]}), inverse({shape[1]});
    const double sums = sums_of<T>(shape);
    for (const int64_t centred : {0, 1}) {
      NormalizeArgs args;
      args.x = x.view(), args.y = y.view(), args.mean = mean.view(), args.inverse_deviation = inverse.view();
      args.eps = 1e-5, args.centred = centred;
      CHECK(same_as_cpu(args, {{"y", {2 * sums}}, {"mean", {sums}}, {"inverse_deviation", {sums}}}) == OSC_OK);
    }
  }
}

template <class T>
void normalizations_backward() {
  for (const auto& shape : kOuterRows) {
    const Owned<T> y = random_tensor<T>(shape, 1), g = random_tensor<T>(shape, 2), dx(shape);
    const Owned<T> deviation = random_tensor<T>({shape[1]}, 3);
    for (const int64_t centred : {0, 1}) {
      NormalizeBackwardArgs args;
      args.y = y.view(), args.inverse_deviation = deviation.view(), args.g = g.view(), args.dx = dx.view();
      args.centred = centred;
      CHECK(same_as_cpu(args, {{"dx", {2 * sums_of<T>(shape)}}}) == OSC_OK);
    }
  }
}

template <class T>
void largest_places() {
  for (const auto& shape : {std::vector<int64_t>{0, 3}, {1, 1}, {19, 33}, {2, 1025}, {5, 2000}}) {
    const Owned<T> x = random_tensor<T>(shape, 1);
    const Owned<int32_t> index({shape[0]});
    ArgmaxArgs args;
    args.x = x.view(), args.index = index.view();
    CHECK(same_as_cpu(args) == OSC_OK);
    put_specials(x);
    CHECK(same_as_cpu(args) == OSC_OK);
    for (int64_t i = 0; i < x.size(); ++i) x[i] = i % 7 == 3 ? T(1) : T(0);  // equal ones
    CHECK(same_as_cpu(args) == OSC_OK);
    for (int64_t i = 0; i < x.size(); ++i) x[i] = i % 50 < 9 ? std::numeric_limits<T>::quiet_NaN() : -std::numeric_limits<T>::infinity();
    CHECK(same_as_cpu(args) == OSC_OK);
  }
}

struct Lists {
  int64_t outer, lists, n, m, inner;
};
// More rows than a block sorts, and lists longer than a tile of positions.
const Lists kLists[] = {{1, 1, 1, 1, 1}, {3, 1, 5, 7, 4}, {3, 3, 5, 7, 4}, {2, 1, 2100, 600, 1}, {2, 2, 4, 300, 3},
                        {1, 1, 3, 0, 2}, {0, 1, 3, 2, 2}, {2, 2, 3, 4, 0}};

// check(index, wide [outer, n, inner], narrow [outer, m, inner], the answer that is due)
template <class T, class F>
void with_lists(F&& check) {
  for (const Lists& s : kLists) {
    Owned<int32_t> index({s.lists, s.m});
    index.fill([&](int64_t j) { return (j * j + j / 3) % s.n; });
    const Owned<T> wide = random_tensor<T>({s.outer, s.n, s.inner}, 1), narrow = random_tensor<T>({s.outer, s.m, s.inner}, 2);
    check(index.view(), wide.view(), narrow.view(), OSC_OK);
    if (s.m < 2 || s.outer == 0) continue;
    for (const int32_t wrong : {-1, static_cast<int32_t>(s.n)}) {
      index[s.m - 1] = wrong;
      check(index.view(), wide.view(), narrow.view(), OSC_ARGUMENT);
    }
  }
}

template <class T>
void gathers() {
  with_lists<T>([](const Tensor& index, const Tensor& wide, const Tensor& narrow, OscCode due) {
    GatherArgs args;
    args.x = wide, args.index = index, args.y = narrow;
    CHECK(same_as_cpu(args) == due);
  });
}

template <class T>
void scatters() {
  with_lists<T>([](const Tensor& index, const Tensor& wide, const Tensor& narrow, OscCode due) {
    ScatterAddArgs args;  // sums in one order on every device
    args.g = narrow, args.index = index, args.y = wide;
    CHECK(same_as_cpu(args) == due);
  });
}

template <class T>
void turns() {
  for (const auto& [outer, places, width, pairs] :
       {std::array<int64_t, 4>{0, 3, 4, 2}, {1, 1, 2, 1}, {3, 5, 9, 3}, {2, 7, 64, 32}, {2, 2, 3, 0}}) {
    const Owned<T> x = random_tensor<T>({outer, places, width}, 1), y({outer, places, width});
    const Owned<T> cosine = random_tensor<T>({places, pairs}, 2), sine = random_tensor<T>({places, pairs}, 3);
    for (const int64_t interleaved : {0, 1}) {
      for (const int64_t inverse : {0, 1}) {
        RotaryArgs args;
        args.x = x.view(), args.y = y.view(), args.cosine = cosine.view(), args.sine = sine.view();
        args.interleaved = interleaved, args.inverse = inverse;
        CHECK(same_as_cpu(args, {{"y", {2}}}) == OSC_OK);
      }
    }
  }
}

}  // namespace

KERNEL_TEST(softmax) {
  softmaxes<float>();
  softmaxes<double>();
}

KERNEL_TEST(softmax_backward) {
  softmaxes_backward<float>();
  softmaxes_backward<double>();
}

KERNEL_TEST(cross_entropy) {
  losses<float>();
  losses<double>();
}

KERNEL_TEST(cross_entropy_backward) {
  losses_backward<float>();
  losses_backward<double>();
}

KERNEL_TEST(normalize) {
  normalizations<float>();
  normalizations<double>();
}

KERNEL_TEST(normalize_backward) {
  normalizations_backward<float>();
  normalizations_backward<double>();
}

KERNEL_TEST(argmax) {
  largest_places<float>();
  largest_places<double>();
}

KERNEL_TEST(gather) {
  gathers<float>();
  gathers<double>();
}

KERNEL_TEST(scatter_add) {
  scatters<float>();
  scatters<double>();
}

KERNEL_TEST(rotary) {
  turns<float>();
  turns<double>();
}
