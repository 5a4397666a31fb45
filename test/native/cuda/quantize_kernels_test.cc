// GPTQ, rounding, errors of weights, codes and their packing.
#include <cmath>
#include <limits>

#include "kernel_case.h"

using namespace osc;
using namespace osc::test;

namespace {

// Correlated columns, one never touched.
template <class T>
Owned<T> gram_of(int64_t n) {
  const int64_t tokens = 2 * n + 3;
  Owned<double> x = random_tensor<double>({tokens, n}, 7);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t j = 1; j < n; ++j) x[t * n + j] += 0.8 * x[t * n + j - 1];
    if (n > 3) x[t * n + 2] = 0;
  }
  Owned<T> gram({n, n});
  gram.fill([&](int64_t e) {
    double sum = 0;
    for (int64_t t = 0; t < tokens; ++t) sum += x[t * n + e / n] * x[t * n + e % n];
    return 2 * sum / static_cast<double>(tokens);
  });
  return gram;
}

struct Factor {
  explicit Factor(int64_t n) : factor({n, n}), diagonal({n}), order({n}), dead({n}) {
    factor.fill([](int64_t) { return std::numeric_limits<float>::quiet_NaN(); });  // the lower half is never read
  }
  GptqFactorArgs args(const Tensor& gram, int64_t precision, int64_t act_order) const {
    GptqFactorArgs args;
    args.gram = gram, args.factor = factor.view(), args.diagonal = diagonal.view(), args.order = order.view(), args.dead = dead.view();
    args.damp_percent = 0.01, args.act_order = act_order, args.precision = precision;
    return args;
  }
  Owned<float> factor;
  Owned<double> diagonal;
  Owned<int32_t> order;
  Owned<uint8_t> dead;
};

struct Codes {
  Codes(int64_t rows, int64_t columns, int64_t group_size)
      : groups(group_size < 0 ? 1 : (columns + group_size - 1) / group_size), codes({rows, columns}), scales({groups, rows}),
        zeros({groups, rows}), group_index({columns}) {}
  int64_t groups;
  Owned<uint8_t> codes;
  Owned<float> scales;
  Owned<uint8_t> zeros;
  Owned<int32_t> group_index;
};

// Codes of any weights, as round_to_nearest gives them.
Codes rounded(const Tensor& weight, int64_t group_size) {
  Codes codes(weight.shape[0], weight.shape[1], group_size);
  RoundToNearestArgs args;
  args.weight = weight, args.codes = codes.codes.view(), args.scales = codes.scales.view(), args.zeros = codes.zeros.view();
  args.bits = 4, args.group_size = group_size;
  REQUIRE(run("round_to_nearest", args).code == OSC_OK);
  codes.group_index.fill([&](int64_t j) { return group_size < 0 ? 0 : j / group_size; });
  return codes;
}

}  // namespace

KERNEL_TEST(gptq_factor) {
  for (const int64_t n : {1, 2, 33, 150}) {
    const Owned<double> gram = gram_of<double>(n);
    const Owned<float> single = gram_of<float>(n);
    const Factor factor(n);
    // The condition number with damping is below 1e3; order and dead columns are exact.
    const double c = 1e3 * static_cast<double>(n);
    for (const int64_t act_order : {0, 1}) {
      const Tolerances by_double{{"factor", {2}}, {"diagonal", {c}}, {"damping", {static_cast<double>(n)}}};
      CHECK(same_as_cpu(factor.args(gram.view(), 64, act_order), by_double) == OSC_OK);
      const Tolerances by_single{{"factor", {c}}, {"diagonal", {c * 0x1p29}}, {"damping", {static_cast<double>(n)}}};
      CHECK(same_as_cpu(factor.args(single.view(), 32, act_order), by_single) == OSC_OK);
    }
    if (n < 33) continue;
    gram[31 * n + 31] = -1e6;
    CHECK(same_as_cpu(factor.args(gram.view(), 64, 0)) == OSC_NOT_POSITIVE_DEFINITE);
    gram[20 * n + 3] = std::numeric_limits<double>::quiet_NaN();
    CHECK(same_as_cpu(factor.args(gram.view(), 64, 0)) == OSC_NON_FINITE);
  }
}

KERNEL_TEST(gptq_quantize_columns) {
  struct Setting {
    int64_t rows, columns, bits, group_size, sym, act_order, static_groups, mse, block_size, float16_scales;
  };
  for (const Setting& s : {Setting{1, 1, 4, -1, 1, 0, 0, 0, 128, 0}, Setting{5, 33, 2, 8, 0, 0, 0, 0, 16, 1},
                           Setting{37, 150, 3, 32, 1, 1, 0, 0, 32, 1}, Setting{33, 130, 4, 64, 0, 1, 1, 0, 128, 1},
                           Setting{3, 70, 8, -1, 0, 1, 0, 1, 64, 0},
                           Setting{4, 300, 3, 140, 0, 0, 0, 1, 32, 0},  // a group wider than a tile of the GPU, range search
                           Setting{3, 600, 4, 64, 0, 0, 0, 0, 128, 1},  // updates from far columns
                           Setting{2, 20, 3, 1, 0, 1, 1, 0, 7, 0}, Setting{0, 5, 4, -1, 1, 0, 0, 0, 128, 1},
                           Setting{3, 0, 4, -1, 1, 0, 0, 0, 128, 1}}) {
    const Owned<float> weight = random_tensor<float>({s.rows, s.columns}, 5);
    const Owned<double> gram = gram_of<double>(s.columns);
    const Factor factor(s.columns);
    GptqFactorArgs factor_args = factor.args(gram.view(), 64, s.act_order);
    REQUIRE(run("gptq_factor", factor_args).code == OSC_OK);
    const Codes codes(s.rows, s.columns, s.group_size);
    GptqQuantizeColumnsArgs args;
    args.weight = weight.view(), args.factor = factor.factor.view(), args.diagonal = factor.diagonal.view();
    args.order = factor.order.view(), args.dead = factor.dead.view(), args.codes = codes.codes.view();
    args.scales = codes.scales.view(), args.zeros = codes.zeros.view(), args.group_index = codes.group_index.view();
    args.bits = s.bits, args.sym = s.sym, args.group_size = s.group_size, args.static_groups = s.static_groups;
    args.block_size = s.block_size, args.mse = s.mse, args.float16_scales = s.float16_scales;
    // Sums of columns float32 terms, in another order: a weight near the middle of two codes may go either way.
    const double n = static_cast<double>(s.columns);
    const Tolerances tolerances{{"codes", {0, 0.01}}, {"zeros", {0, 0.02}}, {"scales", {4 * n}}, {"loss", {4 * n * 0x1p29}}};
    CHECK(same_as_cpu(args, tolerances) == OSC_OK);
    Owned<float> correction = random_tensor<float>({s.columns, s.columns}, 6);
    correction.fill([&](int64_t e) {
      return e / s.columns < e % s.columns ? correction[e] / (2 * n) : std::numeric_limits<float>::quiet_NaN();
    });
    args.correction = correction.view();
    CHECK(same_as_cpu(args, tolerances) == OSC_OK);
  }
}

KERNEL_TEST(round_to_nearest) {
  for (const auto& [rows, columns, group_size] : {std::array<int64_t, 3>{1, 1, -1}, {5, 70, 16}, {33, 129, -1}, {70, 64, 64}}) {
    for (const int64_t bits : {2, 3, 4, 8}) {
      for (const int64_t flags : {0, 1, 2, 3, 4, 7}) {
        const Owned<float> weight = random_tensor<float>({rows, columns}, 5);
        const Codes codes(rows, columns, group_size);
        RoundToNearestArgs args;
        args.weight = weight.view(), args.codes = codes.codes.view(), args.scales = codes.scales.view(), args.zeros = codes.zeros.view();
        args.bits = bits, args.group_size = group_size, args.sym = flags & 1, args.float16_scales = flags >> 1 & 1;
        args.mse = flags >> 2;
        // mse compares sums of powers: near equal ones may choose another range.
        const double ties = args.mse ? 0.01 : 0;
        CHECK(same_as_cpu(args, {{"codes", {0, ties}}, {"scales", {0, ties}}, {"zeros", {0, ties}}}) == OSC_OK);
      }
    }
  }
}

KERNEL_TEST(quantization_error) {
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{1, 1}, {37, 70}}) {
    const Owned<float> weight = random_tensor<float>({rows, columns}, 5), single = gram_of<float>(columns);
    const Owned<double> gram = gram_of<double>(columns);
    const Codes codes = rounded(weight.view(), columns > 1 ? 32 : -1);
    Owned<int32_t> chosen({(rows + 1) / 2});
    chosen.fill([](int64_t i) { return 2 * i; });
    for (const bool in_single : {false, true}) {
      QuantizationErrorArgs args;
      args.gram = in_single ? single.view() : gram.view();
      args.weight = weight.view(), args.codes = codes.codes.view(), args.scales = codes.scales.view(), args.zeros = codes.zeros.view();
      args.group_index = codes.group_index.view(), args.rows = chosen.view();
      const double factor = 4 * static_cast<double>(columns * rows) * (in_single ? 0x1p29 : 1);
      CHECK(same_as_cpu(args, {{"error", {factor}}, {"reference", {factor}}}) == OSC_OK);
    }
  }
}

KERNEL_TEST(weight_error) {
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{1, 1}, {37, 70}}) {
    const Owned<float> weight = random_tensor<float>({rows, columns}, 5), other = random_tensor<float>({rows, columns}, 6);
    const Owned<float> single = gram_of<float>(columns);
    const Owned<double> gram = gram_of<double>(columns);
    Owned<int32_t> chosen({(rows + 1) / 2});
    chosen.fill([](int64_t i) { return 2 * i; });
    for (const bool in_single : {false, true}) {
      WeightErrorArgs args;
      args.gram = in_single ? single.view() : gram.view();
      args.weight = weight.view(), args.other = other.view(), args.rows = chosen.view();
      const double factor = 4 * static_cast<double>(columns * rows) * (in_single ? 0x1p29 : 1);
      CHECK(same_as_cpu(args, {{"error", {factor}}, {"reference", {factor}}}) == OSC_OK);
    }
  }
}

KERNEL_TEST(pack_bits) {
  for (const int64_t bits : {1, 3, 4, 8}) {
    for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{0, 5}, {1, 1}, {7, 33}, {70, 100}}) {
      for (const bool words : {false, true}) {
        const int64_t padded = columns + 5, word_bits = words ? 32 : 8, width = (padded * bits + word_bits - 1) / word_bits + 1;
        Owned<uint8_t> codes({rows, columns}), fill({rows}), bytes({rows, width});
        Owned<int32_t> ints({rows, width});
        codes.fill([](int64_t i) { return i * 7 % 251; });
        fill.fill([](int64_t i) { return i + 1; });
        PackBitsArgs args;
        args.codes = codes.view();
        args.packed = words ? ints.view() : bytes.view();
        args.bits = bits, args.padded_columns = padded;
        CHECK(same_as_cpu(args) == OSC_OK);
        args.fill = fill.view();
        CHECK(same_as_cpu(args) == OSC_OK);
        if (rows != 70) continue;  // the transpose: neighbours of a row far apart
        std::swap(args.codes.strides[0], args.codes.strides[1]);
        args.codes.shape[0] = 70, args.codes.shape[1] = 70;
        args.padded_columns = 70;
        CHECK(same_as_cpu(args) == OSC_OK);
      }
    }
  }
}

KERNEL_TEST(unpack_bits) {
  for (const int64_t bits : {1, 3, 4, 8}) {
    for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{0, 5}, {1, 1}, {7, 33}, {70, 100}}) {
      for (const bool words : {false, true}) {
        const int64_t word_bits = words ? 32 : 8, width = (columns * bits + word_bits - 1) / word_bits + 1;
        Owned<uint8_t> codes({rows, columns}), bytes({rows, width});
        Owned<int32_t> ints({rows, width});
        bytes.fill([](int64_t i) { return i * 7919 % 256; });
        ints.fill([](int64_t i) { return static_cast<int32_t>(static_cast<uint32_t>(i) * 2654435761u); });
        UnpackBitsArgs args;
        args.packed = words ? ints.view() : bytes.view();
        args.codes = codes.view();
        args.bits = bits;
        CHECK(same_as_cpu(args) == OSC_OK);
      }
    }
  }
}

KERNEL_TEST(dequantize) {
  for (const auto& [rows, columns, group_size] : {std::array<int64_t, 3>{1, 1, -1}, {37, 70, 32}, {5, 1030, 100}}) {
    const Owned<float> weight = random_tensor<float>({rows, columns}, 5), out({rows, columns});
    const Codes codes = rounded(weight.view(), group_size);
    DequantizeArgs args;
    args.codes = codes.codes.view(), args.scales = codes.scales.view(), args.zeros = codes.zeros.view();
    args.group_index = codes.group_index.view(), args.weight = out.view();
    CHECK(same_as_cpu(args) == OSC_OK);
    if (rows > 1) {
      codes.group_index[columns / 2] = static_cast<int32_t>(codes.groups);
      CHECK(same_as_cpu(args) == OSC_ARGUMENT);
    }
  }
}
