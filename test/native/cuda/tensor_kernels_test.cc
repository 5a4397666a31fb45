// Elementwise functions, comparisons, reductions, copies and products over strided views.
#include <array>
#include <cmath>
#include <limits>

#include "core/elementwise.h"
#include "kernel_case.h"

using namespace osc;
using namespace osc::test;

namespace {

// [2, 40, 33] seen in another order of dimensions, one of them repeated: every kind of stride.
template <class T>
Tensor strided(const Owned<T>& values) {
  Tensor view = values.view();  // [40, 33, 2] of values [2, 40, 33]
  view.rank = 3;
  view.shape[0] = 40, view.strides[0] = 33;
  view.shape[1] = 33, view.strides[1] = 1;
  view.shape[2] = 2, view.strides[2] = 40 * 33;
  return view;
}

template <class T>
Tensor repeated(const Owned<T>& row) {  // [33] as [40, 33, 2]
  Tensor view = row.view();
  view.rank = 3;
  view.shape[0] = 40, view.strides[0] = 0;
  view.shape[1] = 33, view.strides[1] = 1;
  view.shape[2] = 2, view.strides[2] = 0;
  return view;
}

template <class T>
void functions() {
  Owned<T> x = random_tensor<T>({2, 40, 33}, 1);
  const Owned<T> weight = random_tensor<T>({40, 33, 2}, 2), y({40, 33, 2});
  x.fill([&](int64_t i) { return x[i] * 3; });
  for (int64_t op = 0; op < kUnaryOps; ++op) {
    const bool positive = op == kLog || op == kSqrt || op == kReciprocal || op == kPower;
    Owned<T> domain({2, 40, 33});
    domain.fill([&](int64_t i) { return positive ? std::abs(x[i]) + T(0.1) : x[i]; });
    for (const int64_t order : {0, 1, 2}) {
      UnaryArgs args;
      args.x = strided(domain), args.y = y.view(), args.op = op, args.order = order;
      args.alpha = op == kClamp ? -0.5 : 1.7, args.beta = 0.8;
      // Functions of a few ulp each, on values up to the largest result.
      CHECK(same_as_cpu(args, {{"y", {16}}}) == OSC_OK);
      args.weight = weight.view();
      CHECK(same_as_cpu(args, {{"y", {16}}}) == OSC_OK);
    }
  }
}

// Two operands, one of them repeated, with a few numbers that are not.
template <class T>
struct Pair {
  Pair() : a(random_tensor<T>({2, 40, 33}, 1)), b(random_tensor<T>({33}, 2)), y({40, 33, 2}) {
    a[5] = std::numeric_limits<T>::quiet_NaN(), a[6] = std::numeric_limits<T>::infinity(), b[7] = a[7];
  }
  Owned<T> a, b, y;
};

template <class T>
void pairs() {
  const Pair<T> pair;
  for (int64_t op = 0; op < kBinaryOps; ++op) {
    BinaryArgs args;
    args.a = strided(pair.a), args.b = repeated(pair.b), args.y = pair.y.view(), args.op = op;
    CHECK(same_as_cpu(args, {{"y", {op == kPow ? 16.0 : 0.0}}}) == OSC_OK);
  }
}

template <class T>
void comparisons() {
  const Pair<T> pair;
  const Owned<uint8_t> flags({40, 33, 2});
  for (int64_t op = 0; op < kCompareOps; ++op) {
    CompareArgs args;
    args.a = strided(pair.a), args.b = repeated(pair.b), args.y = as(OSC_BOOL, flags.view()), args.op = op;
    CHECK(same_as_cpu(args) == OSC_OK);
  }
}

template <class T>
void selections() {
  const Pair<T> pair;
  Owned<uint8_t> condition({2, 40, 33});
  condition.fill([](int64_t i) { return i % 3 == 0; });
  SelectArgs args;
  args.condition = as(OSC_BOOL, strided(condition)), args.a = strided(pair.a), args.b = repeated(pair.b), args.y = pair.y.view();
  CHECK(same_as_cpu(args) == OSC_OK);
}

template <class T>
void reductions() {
  const Owned<T> x = random_tensor<T>({2, 40, 33}, 1), y({40, 33, 2});
  for (const int64_t kept : {0, 1, 2, 3, 4, 5, 6, 7}) {
    for (const int64_t op : {0, 1}) {
      ReduceArgs args;
      args.x = strided(x), args.y = y.view(), args.op = op, args.scale = 0.25;
      int64_t stride = 1;
      for (int d = 2; d >= 0; --d) {
        args.y.shape[d] = kept >> d & 1 ? args.x.shape[d] : 1;
        args.y.strides[d] = stride;
        stride *= args.y.shape[d];
      }
      // Sums in float64, rounded once; between doubles their order shows.
      CHECK(same_as_cpu(args, {{"y", {op == 1 ? 0.0 : sizeof(T) == 4 ? 1.0 : 2640.0}}}) == OSC_OK);
    }
  }
}

// Few outputs of many elements, which are cut into segments: all of them, along rows, along columns.
template <class T>
void long_reductions() {
  for (const auto& [rows, columns, kept] : {std::array<int64_t, 3>{1, 70'001, 0}, {3, 40'000, 1}, {40'000, 3, 2}}) {
    const Owned<T> x = random_tensor<T>({rows, columns}, 1), y({kept == 1 ? rows : 1, kept == 2 ? columns : 1});
    for (const int64_t op : {0, 1}) {
      ReduceArgs args;
      args.x = x.view(), args.y = y.view(), args.op = op, args.scale = 1;
      // Sums of numbers below 1 that may cancel down to the root of how many they are.
      const double terms = static_cast<double>(rows * columns);
      CHECK(same_as_cpu(args, {{"y", {op == 1 ? 0.0 : sizeof(T) == 4 ? 1.0 : terms}}}) == OSC_OK);
    }
  }
}

template <class T>
void products() {
  struct Setting {
    int64_t batch, m, k, n;
    bool transpose_a, transpose_b;
  };
  for (const Setting& s : {Setting{1, 1, 1, 1, false, false}, Setting{3, 33, 20, 65, true, false}, Setting{2, 70, 130, 5, false, true},
                           Setting{1, 4, 0, 3, false, false}, Setting{0, 4, 2, 3, false, false}}) {
    const Owned<T> a = random_tensor<T>({s.batch, s.transpose_a ? s.k : s.m, s.transpose_a ? s.m : s.k}, 1);
    const Owned<T> b = random_tensor<T>({s.transpose_b ? s.n : s.k, s.transpose_b ? s.k : s.n}, 2), c = random_tensor<T>({s.batch, s.m, s.n}, 3);
    const auto transposed = [](Tensor view, bool wanted) {
      if (wanted) std::swap(view.shape[1], view.shape[2]), std::swap(view.strides[1], view.strides[2]);
      return view;
    };
    Tensor one = b.view();  // one matrix for all
    one.rank = 3;
    one.shape[0] = s.batch, one.strides[0] = 0;
    one.shape[1] = b.view().shape[0], one.strides[1] = b.view().strides[0];
    one.shape[2] = b.view().shape[1], one.strides[2] = b.view().strides[1];
    for (const double beta : {0.0, -0.5}) {
      MatmulArgs args;
      args.a = transposed(a.view(), s.transpose_a), args.b = transposed(one, s.transpose_b), args.c = c.view();
      args.alpha = 2, args.beta = beta;
      CHECK(same_as_cpu(args, {{"c", {2 * static_cast<double>(s.k + 1)}}}) == OSC_OK);
    }
  }
}

}  // namespace

KERNEL_TEST(unary) {
  functions<float>();
  functions<double>();
}

KERNEL_TEST(binary) {
  pairs<float>();
  pairs<double>();
}

KERNEL_TEST(compare) {
  comparisons<float>();
  comparisons<double>();
}

KERNEL_TEST(select) {
  selections<float>();
  selections<double>();
}

KERNEL_TEST(reduce) {
  reductions<float>();
  reductions<double>();
  long_reductions<float>();
  long_reductions<double>();
}

KERNEL_TEST(copy) {
  for (const int32_t dtype : {OSC_FLOAT64, OSC_FLOAT32, OSC_FLOAT16, OSC_UINT8, OSC_INT64}) {
    const Owned<double> x = random_tensor<double>({2, 40, 33}, 1), y({40, 33, 2});
    CopyArgs args;
    args.x = as(dtype, strided(x)), args.y = as(dtype, y.view());
    CHECK(same_as_cpu(args) == OSC_OK);
    args.x = as(dtype, y.view()), args.y = as(dtype, strided(x));
    CHECK(same_as_cpu(args) == OSC_OK);
  }
}

KERNEL_TEST(matmul) {
  products<float>();
  products<double>();
}

KERNEL_TEST(ctc_loss) {
  Owned<int32_t> target({3, 4}), steps({3}), labels({3});
  for (int64_t i = 0; i < 12; ++i) target[i] = static_cast<int32_t>(i % 5 == 4 ? 1 : 1 + i % 4);
  steps[0] = 9, steps[1] = 0, steps[2] = 7, labels[0] = 4, labels[1] = 0, labels[2] = 2;
  const Owned<double> x = random_tensor<double>({3, 9, 200}, 1), slope({3, 9, 200}), loss({3});
  CtcLossArgs args;
  args.x = x.view(), args.target = target.view(), args.input_length = steps.view(), args.target_length = labels.view();
  args.loss = loss.view(), args.slope = slope.view(), args.blank = 0;
  // Exponentials and logarithms of the device's own, 2 ulp each, over 9 steps.
  CHECK(same_as_cpu(args, {{"loss", {64}}, {"slope", {64}}}) == OSC_OK);
  steps[2] = 1;
  CHECK(same_as_cpu(args) == OSC_ARGUMENT);
}

KERNEL_TEST(ctc_loss_curvature) {
  Owned<int32_t> target({2, 3}), steps({2}), labels({2});
  for (int64_t i = 0; i < 6; ++i) target[i] = static_cast<int32_t>(1 + i % 2);
  steps[0] = 5, steps[1] = 8, labels[0] = 3, labels[1] = 1;
  const Owned<float> x = random_tensor<float>({2, 8, 6}, 1), v = random_tensor<float>({2, 8, 6}, 2), y({2, 8, 6});
  CtcLossCurvatureArgs args;
  args.x = x.view(), args.v = v.view(), args.target = target.view(), args.input_length = steps.view();
  args.target_length = labels.view(), args.y = y.view(), args.blank = 0;
  CHECK(same_as_cpu(args, {{"y", {2}}}) == OSC_OK);
}
