#include <cmath>
#include <limits>

#include "kernel_case.h"

using namespace osc;
using namespace osc::test;

namespace {

constexpr int32_t kDtypes[] = {OSC_FLOAT32, OSC_FLOAT64, OSC_INT32, OSC_UINT8, OSC_FLOAT16, OSC_BFLOAT16, OSC_INT8, OSC_INT64, OSC_BOOL};

}  // namespace

KERNEL_TEST(fill) {
  for (const int32_t dtype : kDtypes) {
    for (const int64_t size : {0, 1, 1025, 3000}) {
      Owned<double> y({size});  // room for any dtype
      FillArgs args;
      args.y = as(dtype, y.view());
      args.value = -2.7;
      CHECK(same_as_cpu(args) == OSC_OK);
    }
  }
  Owned<float> y({4, 4});
  FillArgs args;
  args.y = y.view();
  args.y.strides[0] = 5;
  args.y.shape[0] = 3;
  CHECK(same_as_cpu(args) == OSC_ARGUMENT);
}

KERNEL_TEST(convert) {
  const double special[] = {0.0, -0.0, 1.5, -1e9, 3e38, 1e300, 65519.9, 65520.0, 1e-8, std::nan(""), HUGE_VAL, -HUGE_VAL, 255.9, -129.0};
  Owned<double> values({1500});
  values.fill([&](int64_t i) { return i < 14 ? special[i] : std::sin(static_cast<double>(i)) * std::pow(10.0, i % 12 - 3); });
  for (const int32_t from : kDtypes) {
    Owned<double> x({1500}), y({1500});
    ConvertArgs args;
    args.x = values.view();
    args.y = as(from, x.view());
    REQUIRE(run("convert", args).code == OSC_OK);
    for (const int32_t to : kDtypes) {
      args.x = as(from, x.view());
      args.y = as(to, y.view());
      CHECK(same_as_cpu(args) == OSC_OK);
    }
  }
  Owned<float> matrix({20, 35});
  matrix.fill([](int64_t i) { return i; });
  Owned<double> out({35, 10});
  ConvertArgs args;  // every other row, transposed
  args.x = matrix.view();
  args.x.shape[0] = 35, args.x.strides[0] = 1;
  args.x.shape[1] = 10, args.x.strides[1] = 70;
  args.y = out.view();
  CHECK(same_as_cpu(args) == OSC_OK);
  args.x.shape[1] = 9;
  CHECK(same_as_cpu(args) == OSC_ARGUMENT);
}

KERNEL_TEST(find_non_finite) {
  for (const int64_t size : {0, 1, 255, 9001}) {
    Owned<float> x({size});
    Owned<double> y({size});
    FindNonFiniteArgs args;
    args.x = x.view();
    CHECK(same_as_cpu(args) == OSC_OK);
    for (const int64_t bad : {size - 1, size / 2, size / 3}) {
      if (size == 0) continue;
      x[bad] = bad % 2 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
      y[bad] = -std::numeric_limits<double>::infinity();
      args.x = x.view();
      CHECK(same_as_cpu(args) == OSC_OK);
      args.x = y.view();
      CHECK(same_as_cpu(args) == OSC_OK);
    }
  }
}
