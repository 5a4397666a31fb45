// convert, fill, pack_bits, unpack_bits, dequantize and the table itself.
#include <doctest/doctest.h>

#include <limits>
#include <string>

#include "backend/devices.h"
#include "kernels.h"
#include "owned.h"

using namespace osc;
using namespace osc::test;

TEST_CASE("the CPU table has every kernel, in the order of kernels.def") {
  const char* const stems[] = {
#define OSC_KERNEL(stem, Type) #stem,
#include "kernels.def"
#undef OSC_KERNEL
  };
  const OscKernelTable& table = cpu_kernel_table();
  REQUIRE(table.kernel_count == std::size(stems));
  for (uint32_t i = 0; i < table.kernel_count; ++i) {
    CHECK(std::string(table.kernels[i].name) == stems[i]);
    const bool there = table.kernels[i].run != nullptr;
    CHECK(there);
    CHECK(kernel_index(stems[i]) == static_cast<int>(i));
  }
  CHECK(kernel_index("no_such_kernel") == -1);
}

TEST_CASE("a device that is not there is a reason, not a crash") {
  CHECK(find_device("cuda") == nullptr);
  const Device* device = nullptr;
  const Status status = open_device("cuda", "/no/such/plug-in.so", &device);
  CHECK(status.code == OSC_DEVICE);
  CHECK(std::string(status.message) != "");
  CHECK(device == nullptr);
}

TEST_CASE("convert walks a strided view") {
  Owned<float> x({130, 517});
  x.fill([](int64_t i) { return i % 1000; });
  Tensor view = x.view();  // the transpose of rows 3..129, columns 5, 8, 11, ...
  view.data = &x[3 * 517 + 5];
  view.shape[0] = 171, view.strides[0] = 3;
  view.shape[1] = 127, view.strides[1] = 517;
  Owned<double> y({171, 127});
  ConvertArgs args;
  args.x = view;
  args.y = y.view();
  REQUIRE(run("convert", args).code == OSC_OK);
  for (int64_t i = 0; i < 171; ++i) {
    for (int64_t j = 0; j < 127; ++j) REQUIRE(y[i * 127 + j] == x[(3 + j) * 517 + 5 + 3 * i]);
  }
}

TEST_CASE("find_non_finite gives the first position and the count") {
  Owned<float> x({700000});
  FindNonFiniteArgs args;
  args.x = x.view();
  REQUIRE(run("find_non_finite", args).code == OSC_OK);
  CHECK(args.index == -1);
  x[699999] = std::numeric_limits<float>::infinity();
  x[300001] = std::numeric_limits<float>::quiet_NaN();
  REQUIRE(run("find_non_finite", args).code == OSC_OK);
  CHECK(args.index == 300001);
  CHECK(args.count == 2);
}

TEST_CASE("pack_bits and unpack_bits undo each other for every width") {
  for (int64_t bits = 1; bits <= 8; ++bits) {
    for (const int64_t columns : {1, 7, 32, 65}) {
      const int64_t rows = 3, padded = columns + 5, words = (padded * bits + 31) / 32;
      Owned<uint8_t> codes({rows, columns}), fill({rows}), back({rows, padded});
      Random random(static_cast<uint64_t>(bits));
      codes.fill([&](int64_t) { return static_cast<int>((random.next() + 1) * 128) & ((1 << bits) - 1); });
      fill.fill([](int64_t) { return 1; });
      Owned<int32_t> packed({rows, words});
      PackBitsArgs pack;
      pack.codes = codes.view();
      pack.fill = fill.view();
      pack.packed = packed.view();
      pack.bits = bits;
      pack.padded_columns = padded;
      REQUIRE(run("pack_bits", pack).code == OSC_OK);
      UnpackBitsArgs unpack;
      unpack.packed = packed.view();
      unpack.codes = back.view();
      unpack.bits = bits;
      REQUIRE(run("unpack_bits", unpack).code == OSC_OK);
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t j = 0; j < padded; ++j) {
          REQUIRE(back[r * padded + j] == (j < columns ? codes[r * columns + j] : 1));
        }
      }
    }
  }
}

TEST_CASE("dequantize reads the grid of each column's group, and refuses a group that is not there") {
  Owned<uint8_t> codes({2, 3}), zeros({2, 2});
  Owned<float> scales({2, 2}), weight({2, 3});
  Owned<int32_t> group_index({3});
  codes.fill([](int64_t i) { return i + 1; });
  zeros.fill([](int64_t i) { return i; });
  scales.fill([](int64_t i) { return 0.5 * static_cast<double>(i + 1); });
  group_index[0] = 1, group_index[2] = 1;
  DequantizeArgs args;
  args.codes = codes.view();
  args.scales = scales.view();
  args.zeros = zeros.view();
  args.group_index = group_index.view();
  args.weight = weight.view();
  REQUIRE(run("dequantize", args).code == OSC_OK);
  const float expected[] = {-1.5F, 1.0F, 1.5F, 2.0F, 4.0F, 6.0F};
  for (int64_t i = 0; i < 6; ++i) CHECK(weight[i] == expected[i]);

  group_index[2] = 2;
  const Status status = run("dequantize", args);
  CHECK(status.code == OSC_ARGUMENT);
  CHECK(status.index == 2);
}
