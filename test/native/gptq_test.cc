// GPTQ's two kernels by their defining properties; the published vectors are in test/kernels.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "core/parallel.h"
#include "kernels.h"
#include "owned.h"

using namespace osc;
using namespace osc::test;

namespace {

struct Setting {
  int64_t rows, columns, bits, group_size;
  bool sym, act_order, static_groups, mse;
  int64_t block_size;
};

// Correlated inputs, one column never touched.
Owned<double> gram_of(int64_t n) {
  Random random(7);
  const int64_t tokens = 3 * n + 5, dead = n > 3 ? 2 : -1;
  std::vector<double> x(static_cast<size_t>(tokens * n));
  for (int64_t t = 0; t < tokens; ++t) {
    double carry = 0;
    for (int64_t j = 0; j < n; ++j) {
      carry = 0.8 * carry + random.next() * (1.0 + 0.1 * static_cast<double>(j % 5));
      x[static_cast<size_t>(t * n + j)] = j == dead ? 0.0 : carry;
    }
  }
  Owned<double> gram({n, n});
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t t = 0; t < tokens; ++t) sum += x[static_cast<size_t>(t * n + i)] * x[static_cast<size_t>(t * n + j)];
      gram[i * n + j] = 2.0 * sum / static_cast<double>(tokens);
    }
  }
  return gram;
}

struct Factor {
  explicit Factor(int64_t n) : factor({n, n}), diagonal({n}), order({n}), dead({n}) {}
  Status compute(const Tensor& gram, double damp_percent, bool act_order, int64_t precision) {
    GptqFactorArgs args;
    args.gram = gram;
    args.factor = factor.view();
    args.diagonal = diagonal.view();
    args.order = order.view();
    args.dead = dead.view();
    args.damp_percent = damp_percent;
    args.act_order = act_order;
    args.precision = precision;
    const Status status = run("gptq_factor", args);
    damping = args.damping;
    return status;
  }
  double r(int64_t i, int64_t j) const {
    const int64_t n = diagonal.size();
    return i > j ? 0.0 : i == j ? diagonal[i] : factor[i * n + j] * diagonal[j];
  }
  double damping = 0;
  Owned<float> factor;
  Owned<double> diagonal;
  Owned<int32_t> order;
  Owned<uint8_t> dead;
};

struct Quantized {
  Quantized(int64_t rows, int64_t columns, int64_t groups)
      : codes({rows, columns}), scales({groups, rows}), zeros({groups, rows}), group_index({columns}) {}
  double value(int64_t row, int64_t column) const {
    const int64_t rows = scales.view().shape[1], at = group_index[column] * rows + row;
    return static_cast<double>(scales[at]) * (codes[row * group_index.size() + column] - zeros[at]);
  }
  Owned<uint8_t> codes;
  Owned<float> scales;
  Owned<uint8_t> zeros;
  Owned<int32_t> group_index;
  double loss = 0;
};

int64_t group_count(const Setting& s) {
  return s.group_size < 1 || s.group_size >= s.columns ? 1 : (s.columns + s.group_size - 1) / s.group_size;
}

Quantized quantize(const Setting& s, const Owned<float>& weight, const Factor& factor) {
  Quantized result(s.rows, s.columns, group_count(s));
  GptqQuantizeColumnsArgs args;
  args.weight = weight.view();
  args.factor = factor.factor.view();
  args.diagonal = factor.diagonal.view();
  args.order = factor.order.view();
  args.dead = factor.dead.view();
  args.codes = result.codes.view();
  args.scales = result.scales.view();
  args.zeros = result.zeros.view();
  args.group_index = result.group_index.view();
  args.bits = s.bits;
  args.sym = s.sym;
  args.group_size = s.group_size;
  args.static_groups = s.static_groups;
  args.block_size = s.block_size;
  args.mse = s.mse;
  args.float16_scales = 1;
  REQUIRE(run("gptq_quantize_columns", args).code == OSC_OK);
  result.loss = args.loss;
  return result;
}

Owned<float> weights(int64_t rows, int64_t columns) {
  Random random(11);
  Owned<float> weight({rows, columns});
  weight.fill([&](int64_t) { return random.next() + random.next(); });
  return weight;
}

const Setting kSettings[] = {
    {1, 1, 4, -1, false, false, false, false, 128},   {5, 3, 2, -1, true, false, false, false, 128},
    {65, 70, 4, 32, true, false, false, false, 128},  {33, 70, 3, 32, false, true, false, false, 16},
    {130, 200, 4, 64, false, true, true, false, 128}, {64, 129, 8, -1, true, true, false, false, 32},
    {17, 40, 4, 1000, false, false, false, true, 8},  {3, 300, 2, 7, false, false, false, false, 1},
};

}  // namespace

TEST_CASE("gptq_factor: R R^T is the damped matrix in processing order") {
  for (int64_t n : {1, 2, 17, 64, 131}) {
    for (const bool act_order : {false, true}) {
      for (const int64_t precision : {64, 32}) {
        CAPTURE(n);
        const Owned<double> gram = gram_of(n);
        Factor f(n);
        REQUIRE(f.compute(gram.view(), 0.01, act_order, precision).code == OSC_OK);
        double largest = 0;
        for (int64_t i = 0; i < n; ++i) largest = std::max(largest, gram[i * n + i]);
        for (int64_t i = 0; i < n; ++i) {
          for (int64_t j = 0; j < n; ++j) {
            double sum = 0;
            for (int64_t k = std::max(i, j); k < n; ++k) sum += f.r(i, k) * f.r(j, k);
            double expected = gram[f.order[i] * n + f.order[j]];
            if (i == j) expected += f.damping + (f.dead[f.order[i]] ? 1.0 : 0.0);
            REQUIRE(std::abs(sum - expected) <= 4.0 * static_cast<double>(n) * 0x1p-23 * (largest + 1));
          }
        }
      }
    }
  }
}

TEST_CASE("gptq_factor names the column whose pivot fails") {
  Owned<double> gram({3, 3});
  gram.fill([](int64_t i) { return i % 4 == 0 ? 1.0 : 0.0; });
  gram[1] = gram[3] = 2.0;
  Factor f(3);
  const Status status = f.compute(gram.view(), 0.01, false, 64);
  CHECK(status.code == OSC_NOT_POSITIVE_DEFINITE);
  CHECK(status.index == 0);
}

TEST_CASE("gptq_quantize_columns: loss is 1/2 tr(E H_d E^T), codes fit, threads do not matter") {
  for (const Setting& s : kSettings) {
    CAPTURE(s.rows);
    CAPTURE(s.columns);
    const Owned<double> gram = gram_of(s.columns);
    const Owned<float> weight = weights(s.rows, s.columns);
    Factor factor(s.columns);
    REQUIRE(factor.compute(gram.view(), 0.01, s.act_order, 64).code == OSC_OK);
    const Quantized q = quantize(s, weight, factor);

    double trace = 0;
    for (int64_t r = 0; r < s.rows; ++r) {
      std::vector<double> e(static_cast<size_t>(s.columns));
      for (int64_t j = 0; j < s.columns; ++j) {
        const double w = factor.dead[j] ? 0.0 : static_cast<double>(weight[r * s.columns + j]);
        e[static_cast<size_t>(j)] = w - q.value(r, j);
        REQUIRE(q.codes[r * s.columns + j] < (1 << s.bits));
      }
      for (int64_t i = 0; i < s.columns; ++i) {
        double row = 0;
        for (int64_t j = 0; j < s.columns; ++j) row += gram[i * s.columns + j] * e[static_cast<size_t>(j)];
        trace += e[static_cast<size_t>(i)] * (row + (factor.damping + factor.dead[i]) * e[static_cast<size_t>(i)]);
      }
    }
    CHECK(q.loss == doctest::Approx(trace / 2).epsilon(1e-4));

    const int before = thread_count();
    set_thread_count(before == 1 ? 3 : 1);
    const Quantized again = quantize(s, weight, factor);
    set_thread_count(before);
    CHECK(again.codes.same_bits(q.codes));
    CHECK(again.scales.same_bits(q.scales));
    CHECK(again.loss == q.loss);
  }
}

TEST_CASE("gptq with a diagonal matrix is round_to_nearest, and quantization_error agrees with the loss") {
  const Setting s{37, 90, 4, 32, true, false, true, false, 128};
  Owned<double> gram({s.columns, s.columns});
  for (int64_t j = 0; j < s.columns; ++j) gram[j * s.columns + j] = 1.0 + static_cast<double>(j % 3);
  const Owned<float> weight = weights(s.rows, s.columns);
  Factor factor(s.columns);
  REQUIRE(factor.compute(gram.view(), 0.0, false, 64).code == OSC_OK);
  const Quantized q = quantize(s, weight, factor);

  Quantized plain(s.rows, s.columns, group_count(s));
  RoundToNearestArgs args;
  args.weight = weight.view();
  args.codes = plain.codes.view();
  args.scales = plain.scales.view();
  args.zeros = plain.zeros.view();
  args.bits = s.bits;
  args.sym = s.sym;
  args.group_size = s.group_size;
  args.float16_scales = 1;
  REQUIRE(run("round_to_nearest", args).code == OSC_OK);
  CHECK(plain.codes.same_bits(q.codes));
  CHECK(plain.scales.same_bits(q.scales));

  Owned<int32_t> rows({s.rows});
  rows.fill([](int64_t i) { return i; });
  QuantizationErrorArgs error;
  error.gram = gram.view();
  error.weight = weight.view();
  error.codes = q.codes.view();
  error.scales = q.scales.view();
  error.zeros = q.zeros.view();
  error.group_index = q.group_index.view();
  error.rows = rows.view();
  REQUIRE(run("quantization_error", error).code == OSC_OK);
  CHECK(error.error == doctest::Approx(2 * q.loss).epsilon(1e-6));
  CHECK(error.reference > error.error);
}

TEST_CASE("a cancelled context aborts every long kernel") {
  const std::atomic<int32_t> cancelled{1};
  const Owned<double> gram = gram_of(40);
  GptqFactorArgs args;
  Factor f(40);
  args.gram = gram.view();
  args.factor = f.factor.view();
  args.diagonal = f.diagonal.view();
  args.order = f.order.view();
  args.dead = f.dead.view();
  args.damp_percent = 0.01;
  args.precision = 64;
  CHECK(run("gptq_factor", args, &cancelled).code == OSC_ABORTED);
}
