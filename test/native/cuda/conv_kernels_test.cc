// Convolution and pooling.
#include <cmath>
#include <limits>

#include "kernel_case.h"

using namespace osc;
using namespace osc::test;

namespace {

struct Convolution {
  int64_t batch, groups, channels, height, width, outputs, kernel_h, kernel_w;  // channels and outputs of a group
  int64_t stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, out_h, out_w;
};
const Convolution kConvolutions[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1},   // the image is its patches
    {3, 2, 2, 5, 6, 3, 1, 1, 1, 1, 0, 0, 1, 1, 5, 6},   // in groups
    {2, 1, 3, 9, 8, 4, 3, 3, 1, 1, 1, 1, 1, 1, 9, 8},   // same size
    {2, 1, 2, 11, 7, 5, 3, 2, 2, 3, 1, 0, 2, 1, 5, 2},  // strides and dilation
    {1, 4, 1, 6, 6, 1, 3, 3, 1, 1, 2, 2, 1, 1, 8, 8},   // more groups than images; outputs that see nothing
    {0, 1, 2, 4, 4, 2, 3, 3, 1, 1, 0, 0, 1, 1, 2, 2},
    {2, 1, 2, 4, 4, 2, 3, 3, 1, 1, 0, 0, 1, 1, 0, 2},
    {2, 1, 0, 4, 4, 2, 3, 3, 1, 1, 0, 0, 1, 1, 2, 2},
};

template <class Args>
void set_options(Args& args, const Convolution& s) {
  args.groups = s.groups, args.stride_h = s.stride_h, args.stride_w = s.stride_w, args.pad_top = s.pad_top;
  args.pad_left = s.pad_left, args.dilation_h = s.dilation_h, args.dilation_w = s.dilation_w;
}

// check(setting, x, w, y)
template <class T, class F>
void with_convolutions(F&& check) {
  for (const Convolution& s : kConvolutions) {
    const Owned<T> x = random_tensor<T>({s.batch, s.groups * s.channels, s.height, s.width}, 1);
    const Owned<T> w = random_tensor<T>({s.groups * s.outputs, s.channels, s.kernel_h, s.kernel_w}, 2);
    check(s, x.view(), w.view(), random_tensor<T>({s.batch, s.groups * s.outputs, s.out_h, s.out_w}, 3).view());
  }
}

// Sums of so many products of numbers below 1, at least one of which is in the result.
double terms(int64_t count) { return 2 * static_cast<double>(count + 1); }

template <class T>
void forward() {
  with_convolutions<T>([](const Convolution& s, const Tensor& x, const Tensor& w, const Tensor& y) {
    Conv2dArgs args;
    args.x = x, args.w = w, args.y = y;
    set_options(args, s);
    CHECK(same_as_cpu(args, {{"y", {terms(s.channels * s.kernel_h * s.kernel_w)}}}) == OSC_OK);
    args.groups = 7;
    CHECK(same_as_cpu(args) == OSC_ARGUMENT);
  });
}

template <class T>
void by_input() {
  with_convolutions<T>([](const Convolution& s, const Tensor& x, const Tensor& w, const Tensor& y) {
    Conv2dInputArgs args;
    args.g = y, args.w = w, args.dx = x;
    set_options(args, s);
    CHECK(same_as_cpu(args, {{"dx", {terms(s.outputs * s.kernel_h * s.kernel_w)}}}) == OSC_OK);
    args.stride_w = 0;
    CHECK(same_as_cpu(args) == OSC_ARGUMENT);
  });
}

template <class T>
void by_weight() {
  with_convolutions<T>([](const Convolution& s, const Tensor& x, const Tensor& w, const Tensor& y) {
    Conv2dWeightArgs args;
    args.x = x, args.g = y, args.dw = w;
    set_options(args, s);
    CHECK(same_as_cpu(args, {{"dw", {terms(s.batch * s.out_h * s.out_w)}}}) == OSC_OK);
    args.dilation_h = 0;
    CHECK(same_as_cpu(args) == OSC_ARGUMENT);
  });
}

struct Pool {
  int64_t planes, height, width, out_h, out_w, kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left;
};
const Pool kPools[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0},   {5, 8, 6, 4, 3, 2, 2, 2, 2, 0, 0},
    {3, 7, 9, 4, 3, 3, 4, 2, 3, 1, 1},   // overlapping, and cut off at the edges
    {2, 10, 10, 2, 3, 2, 3, 5, 4, 0, 1},  // elements between windows
    {0, 4, 4, 2, 2, 2, 2, 2, 2, 0, 0},
};

template <class Args>
void set_options(Args& args, const Pool& s) {
  args.kernel_h = s.kernel_h, args.kernel_w = s.kernel_w, args.stride_h = s.stride_h, args.stride_w = s.stride_w;
  args.pad_top = s.pad_top, args.pad_left = s.pad_left;
}

template <class T>
void averages() {
  for (const Pool& s : kPools) {
    const Owned<T> x = random_tensor<T>({s.planes, s.height, s.width}, 1), y({s.planes, s.out_h, s.out_w});
    for (const int64_t whole : {0, 1}) {
      AvgPoolArgs args;
      args.x = x.view(), args.y = y.view(), args.whole = whole;
      set_options(args, s);
      CHECK(same_as_cpu(args) == OSC_OK);  // one order of summation
      args.stride_h = 0;
      CHECK(same_as_cpu(args) == OSC_ARGUMENT);
    }
  }
}

template <class T>
void averages_backward() {
  for (const Pool& s : kPools) {
    const Owned<T> g = random_tensor<T>({s.planes, s.out_h, s.out_w}, 1), dx({s.planes, s.height, s.width});
    for (const int64_t whole : {0, 1}) {
      AvgPoolBackwardArgs args;
      args.g = g.view(), args.dx = dx.view(), args.whole = whole;
      set_options(args, s);
      // One order of summation; a product in it may be fused.
      CHECK(same_as_cpu(args, {{"dx", {4}}}) == OSC_OK);
      args.kernel_h = 0;
      CHECK(same_as_cpu(args) == OSC_ARGUMENT);
    }
  }
}

template <class T>
void maxima() {
  for (const Pool& s : kPools) {
    Owned<T> x = random_tensor<T>({s.planes, s.height, s.width}, 1);
    const Owned<int32_t> index({s.planes, s.out_h, s.out_w});
    MaxPoolArgs args;
    args.x = x.view(), args.index = index.view();
    set_options(args, s);
    CHECK(same_as_cpu(args) == OSC_OK);
    x.fill([&](int64_t i) { return std::round(2 * x[i]); });  // equal ones
    CHECK(same_as_cpu(args) == OSC_OK);
    x.fill([&](int64_t i) { return i % 5 == 2 ? std::numeric_limits<T>::quiet_NaN() : x[i]; });
    CHECK(same_as_cpu(args) == OSC_OK);
  }
}

}  // namespace

KERNEL_TEST(conv2d) {
  forward<float>();
  forward<double>();
}

KERNEL_TEST(conv2d_input) {
  by_input<float>();
  by_input<double>();
}

KERNEL_TEST(conv2d_weight) {
  by_weight<float>();
  by_weight<double>();
}

KERNEL_TEST(avg_pool) {
  averages<float>();
  averages<double>();
}

KERNEL_TEST(avg_pool_backward) {
  averages_backward<float>();
  averages_backward<double>();
}

KERNEL_TEST(max_pool) {
  maxima<float>();
  maxima<double>();
}
