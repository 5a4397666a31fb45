#include "common/reduce.cuh"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "on_device.h"
#include "owned.h"

using namespace osc;
using namespace osc::test;

namespace {

template <class T>
OSC_GLOBAL reduce_blocks(const T* x, int64_t count, T* sums, T* largest, T* smallest, int* agree) {
  T sum = 0, high = -std::numeric_limits<T>::infinity(), low = std::numeric_limits<T>::infinity();
  const int64_t thread = threadIdx.x + int64_t{blockDim.x} * threadIdx.y;
  const int64_t threads = int64_t{blockDim.x} * blockDim.y;
  for (int64_t i = blockIdx.x * threads + thread; i < count; i += gridDim.x * threads) {
    sum += x[i];
    high = Largest()(high, x[i]);
    low = Smallest()(low, x[i]);
  }
  const T all = block_sum(sum), most = block_max(high, -std::numeric_limits<T>::infinity());
  const T least = block_min(low, std::numeric_limits<T>::infinity()), again = block_sum(sum);
  if (thread == 5) {
    sums[blockIdx.x] = all;
    largest[blockIdx.x] = most;
    smallest[blockIdx.x] = least;
  }
  if (thread == 9) agree[blockIdx.x] = all == again || all != all;
}

}  // namespace

TEST_CASE_TEMPLATE("sums and extremes over blocks and a grid", T, float, double) {
  for (const dim3 block : {dim3(32), dim3(64, 3), dim3(1024)}) {
    for (const int64_t count : {int64_t{0}, int64_t{1}, int64_t{33}, int64_t{100003}}) {
      Random random(static_cast<uint64_t>(count) + 1);
      std::vector<T> x(static_cast<size_t>(count));
      double sum = 0, magnitude = 0, high = -std::numeric_limits<double>::infinity(), low = -high;
      for (T& value : x) {
        value = static_cast<T>(random.next());
        sum += value;
        magnitude += std::abs(static_cast<double>(value));
        high = std::max(high, static_cast<double>(value));
        low = std::min(low, static_cast<double>(value));
      }
      const unsigned blocks = grid_for(count, 2048);
      const OnDevice<T> on_x(x), sums(blocks), largest(blocks), smallest(blocks), result(3);
      const OnDevice<int> agree(blocks);
      REQUIRE(launch(reduce_blocks<T>, blocks, block, 0, on_x.get(), count, sums.get(), largest.get(), smallest.get(),
                     agree.get()).code == OSC_OK);
      const T infinity = std::numeric_limits<T>::infinity();
      REQUIRE(finish_partials(sums.get(), blocks, T(0), Sum(), result.get()).code == OSC_OK);
      REQUIRE(finish_partials(largest.get(), blocks, -infinity, Largest(), result.get() + 1).code == OSC_OK);
      REQUIRE(finish_partials(smallest.get(), blocks, infinity, Smallest(), result.get() + 2).code == OSC_OK);
      for (const int same : agree.values()) CHECK(same == 1);
      const std::vector<T> got = result.values();
      // The longest chain of additions: a thread's own items, then the trees.
      const double depth = static_cast<double>(count) / (static_cast<double>(blocks) * block.x * block.y) + blocks / 256.0 + 22;
      CHECK(std::abs(got[0] - sum) <= depth * static_cast<double>(std::numeric_limits<T>::epsilon()) * magnitude);
      CHECK(got[1] == static_cast<T>(high));
      CHECK(got[2] == static_cast<T>(low));
    }
  }
}

TEST_CASE("a NaN is the result of every reduction") {
  std::vector<float> x(5000, 1.0f);
  x[4567] = std::numeric_limits<float>::quiet_NaN();
  const OnDevice<float> on_x(x), sums(1), largest(1), smallest(1);
  const OnDevice<int> agree(1);
  REQUIRE(launch(reduce_blocks<float>, 1, 96, 0, on_x.get(), int64_t{5000}, sums.get(), largest.get(), smallest.get(),
                 agree.get()).code == OSC_OK);
  CHECK(std::isnan(sums.values()[0]));
  CHECK(std::isnan(largest.values()[0]));
  CHECK(std::isnan(smallest.values()[0]));
}
