// The pruning kernels against a sort: exact counts, ties in order, nothing outside the buffers.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/order_key.h"
#include "core/parallel.h"
#include "kernels.h"
#include "owned.h"

using namespace osc;
using namespace osc::test;

namespace {

struct Mask : Owned<uint8_t> {
  explicit Mask(std::vector<int64_t> shape) : Owned<uint8_t>(std::move(shape)) {}
  Tensor bits() const {
    Tensor view = this->view();
    view.dtype = OSC_BOOL;
    return view;
  }
};

// 1 where kept: all but the `zeros` smallest of |w|, of equal ones the first.
std::vector<uint8_t> sorted_mask(const Owned<float>& w, int64_t from, int64_t count, int64_t zeros) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return std::fabs(w[from + a]) < std::fabs(w[from + b]); });
  std::vector<uint8_t> mask(static_cast<size_t>(count), 1);
  for (int64_t i = 0; i < zeros; ++i) mask[static_cast<size_t>(order[static_cast<size_t>(i)])] = 0;
  return mask;
}

Owned<float> weights(std::vector<int64_t> shape) {
  Random random(3);
  return std::move(Owned<float>(std::move(shape)).fill([&](int64_t) { return std::round(random.next() * 40) / 40; }));
}

}  // namespace

TEST_CASE("prune_rows: counts within rows and within groups that do not divide") {
  const int64_t rows = 5, columns = 67;
  const Owned<float> w = weights({rows, columns});
  for (const auto& [n, m] : {std::pair{33, 0}, {67, 0}, {2, 4}, {3, 7}, {1, 1}}) {
    const Owned<float> pruned({rows, columns});
    const Mask mask({rows, columns});
    PruneRowsArgs args;
    args.weight = w.view();
    args.pruned = pruned.view();
    args.mask = mask.bits();
    args.n = n;
    args.m = m;
    REQUIRE(run("prune_rows", args).code == OSC_OK);
    const int64_t size = m == 0 ? columns : m;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = 0; j < columns; j += size) {
        const int64_t length = std::min(size, columns - j), at = r * columns + j;
        const std::vector<uint8_t> wanted = sorted_mask(w, at, length, m == 0 ? n : n * length / m);
        for (int64_t i = 0; i < length; ++i) {
          CHECK(mask[at + i] == wanted[static_cast<size_t>(i)]);
          CHECK(pruned[at + i] == (wanted[static_cast<size_t>(i)] ? w[at + i] : 0.0F));
        }
      }
    }
  }
}

TEST_CASE("score_histogram and prune_below: exactly k over many tiles, for any number of threads") {
  const int64_t size = 300'001;
  const Owned<float> w = weights({size});
  for (const int64_t k : {int64_t{1}, size / 3, size}) {
    const std::vector<uint8_t> wanted = sorted_mask(w, 0, size, k);
    for (const int threads : {1, 3}) {
      set_thread_count(threads);
      uint32_t key = 0;
      int64_t left = k;
      for (int digit = 0; digit < kKeyDigits; ++digit) {
        std::vector<int64_t> counts(static_cast<size_t>(kDigitValues));
        ScoreHistogramArgs args;
        args.scores = w.view();
        args.counts = Tensor{counts.data(), OSC_INT64, 1, {kDigitValues}, {1}};
        args.digit = digit;
        args.prefix = key;
        args.absolute = 1;
        REQUIRE(run("score_histogram", args).code == OSC_OK);
        uint32_t value = 0;
        while (counts[value] < left) left -= counts[value++];
        key += value << digit_shift(digit);
      }
      const Owned<float> pruned({size});
      const Mask mask({size});
      PruneBelowArgs args;
      args.weight = w.view();
      args.pruned = pruned.view();
      args.mask = mask.bits();
      args.threshold = key;
      args.ties = left;
      REQUIRE(run("prune_below", args).code == OSC_OK);
      CHECK(args.zeros == k);
      CHECK(std::equal(wanted.begin(), wanted.end(), &mask[0]));
    }
    set_thread_count(2);
  }
}
