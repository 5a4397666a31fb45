// What prepares, prunes and rotates weights, and Optimal Brain Surgeon. Masks and codes equal the CPU's, ties aside.
#include <array>
#include <cmath>
#include <limits>

#include "kernel_case.h"

using namespace osc;
using namespace osc::test;

namespace {

// 2/N X^T X of correlated columns; column 2 is never touched.
Owned<double> gram_of(int64_t n) {
  const int64_t tokens = 2 * n + 3;
  const Owned<double> x = random_tensor<double>({tokens, n}, 7);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t j = 1; j < n; ++j) x[t * n + j] += 0.8 * x[t * n + j - 1];
    if (n > 3) x[t * n + 2] = 0;
  }
  Owned<double> gram({n, n});
  gram.fill([&](int64_t e) {
    double sum = 0;
    for (int64_t t = 0; t < tokens; ++t) sum += x[t * n + e / n] * x[t * n + e % n];
    return 2 * sum / static_cast<double>(tokens);
  });
  return gram;
}

struct Factor {
  Factor(const Owned<double>& gram, int64_t n) : factor({n, n}), diagonal({n}), order({n}), dead({n}) {
    factor.fill([](int64_t) { return std::numeric_limits<float>::quiet_NaN(); });  // the lower half is never read
    GptqFactorArgs args;
    args.gram = gram.view(), args.factor = factor.view(), args.diagonal = diagonal.view(), args.order = order.view();
    args.dead = dead.view(), args.damp_percent = 0.01, args.act_order = 1, args.precision = 64;
    REQUIRE(run("gptq_factor", args).code == OSC_OK);
  }
  Owned<float> factor;
  Owned<double> diagonal;
  Owned<int32_t> order;
  Owned<uint8_t> dead;
};

}  // namespace

KERNEL_TEST(column_statistics) {
  for (const auto& [tokens, in] : {std::pair<int64_t, int64_t>{0, 3}, {1, 1}, {33, 70}}) {
    const Owned<float> x = random_tensor<float>({tokens, in}, 1), largest = random_tensor<float>({in}, 2);
    const Owned<double> squares = random_tensor<double>({in}, 3), magnitudes = random_tensor<double>({in}, 4);
    ColumnStatisticsArgs args;
    args.x = x.view(), args.squares = squares.view(), args.magnitudes = magnitudes.view(), args.largest = largest.view();
    CHECK(same_as_cpu(args) == OSC_OK);
    if (tokens == 0) continue;
    x[tokens * in - 1] = std::numeric_limits<float>::infinity();
    CHECK(same_as_cpu(args) == OSC_NON_FINITE);
  }
}

KERNEL_TEST(cross_gram) {
  for (const auto& [tokens, in] : {std::pair<int64_t, int64_t>{0, 3}, {1, 1}, {33, 70}, {2050, 3}}) {
    const Owned<float> x = random_tensor<float>({tokens, in}, 1), reference = random_tensor<float>({tokens, in}, 2);
    const Owned<double> sum = random_tensor<double>({in, in}, 3);
    const Owned<float> single = random_tensor<float>({in, in}, 3);
    CrossGramArgs args;
    args.x = x.view(), args.reference = reference.view();
    // float32 sums of up to 2048 products whose sizes add up to the tokens.
    const double c = 4 * static_cast<double>(tokens + 1);
    args.accumulator = sum.view();
    CHECK(same_as_cpu(args, {{"accumulator", {0, 0, c * 0x1p-23}}}) == OSC_OK);
    args.accumulator = single.view();
    CHECK(same_as_cpu(args, {{"accumulator", {0, 0, c * 0x1p-23}}}) == OSC_OK);
    if (tokens == 0) continue;
    reference[0] = std::numeric_limits<float>::quiet_NaN();
    CHECK(same_as_cpu(args) == OSC_NON_FINITE);
  }
}

KERNEL_TEST(gptaq_correction) {
  for (const int64_t n : {1, 2, 33, 130}) {
    const Owned<double> gram = gram_of(n), cross = random_tensor<double>({n, n}, 1);
    const Factor factor(gram, n);
    const Owned<float> correction({n, n});
    GptaqCorrectionArgs args;
    args.cross = cross.view(), args.factor = factor.factor.view(), args.diagonal = factor.diagonal.view();
    args.order = factor.order.view(), args.dead = factor.dead.view(), args.correction = correction.view();
    args.scale = 0.5, args.alpha = 0.25;
    // A triangular solve of a matrix whose condition number with damping is below 1e3.
    CHECK(same_as_cpu(args, {{"correction", {30 * static_cast<double>(n)}}}) == OSC_OK);
  }
}

KERNEL_TEST(weight_error) {
  for (const auto& [rows, n] : {std::pair<int64_t, int64_t>{1, 1}, {5, 33}, {3, 130}}) {
    const Owned<double> gram = gram_of(n), cross = random_tensor<double>({n, n}, 1);
    const Owned<float> weight = random_tensor<float>({rows, n}, 2), other = random_tensor<float>({rows, n}, 3);
    Owned<int32_t> chosen({rows});
    chosen.fill([&](int64_t i) { return rows - 1 - i; });
    WeightErrorArgs args;
    args.gram = gram.view(), args.weight = weight.view(), args.other = other.view(), args.rows = chosen.view();
    const double c = 16 * static_cast<double>(n);
    const Tolerances tolerances{{"error", {c}}, {"reference", {c}}, {"cross_error", {0, 0, c * static_cast<double>(rows * n) * 0x1p-52}}};
    CHECK(same_as_cpu(args, tolerances) == OSC_OK);
    args.cross = cross.view();
    CHECK(same_as_cpu(args, tolerances) == OSC_OK);
    chosen[0] = static_cast<int32_t>(rows);
    CHECK(same_as_cpu(args) == OSC_ARGUMENT);
  }
}

KERNEL_TEST(clip_groups) {
  for (const auto& [rows, n, group] : {std::array<int64_t, 3>{1, 1, -1}, {5, 33, 8}, {3, 64, -1}}) {
    const Owned<double> gram = gram_of(n);
    const Owned<float> weight = random_tensor<float>({rows, n}, 2), clipped({rows, n});
    ClipGroupsArgs args;
    args.gram = gram.view(), args.weight = weight.view(), args.clipped = clipped.view();
    args.bits = 3, args.group_size = group;
    CHECK(same_as_cpu(args) == OSC_OK);
    args.sym = 1, args.float16_scales = 1;
    CHECK(same_as_cpu(args) == OSC_OK);
  }
}

KERNEL_TEST(fwht) {
  struct Setting {
    int64_t rows, n, block, base;
  };
  // The last ones do not fit the shared memory.
  for (const Setting& s : {Setting{0, 4, 4, 0}, Setting{3, 1, 1, 0}, Setting{5, 24, 8, 0}, Setting{2, 24, 12, 6}, Setting{1, 16384, 16384, 0},
                           Setting{2, 10240, 10240, 20}}) {
    const Owned<double> x = random_tensor<double>({s.rows, s.n}, 1), y({s.rows, s.n});
    Owned<float> signs({s.n}), base({s.base, s.base});
    signs.fill([](int64_t j) { return j % 3 ? 1 : -1; });
    base.fill([](int64_t e) { return e * e % 7 < 3 ? 1 : -1; });
    FwhtArgs args;
    args.x = x.view(), args.y = y.view(), args.block = s.block;
    if (s.base > 0) args.base = base.view();
    for (const int64_t inverse : {0, 1}) {
      args.inverse = inverse;
      args.signs = Tensor{};
      CHECK(same_as_cpu(args) == OSC_OK);
      args.signs = signs.view();
      CHECK(same_as_cpu(args) == OSC_OK);
    }
  }
}

KERNEL_TEST(sparsegpt_prune_columns) {
  struct Setting {
    int64_t rows, columns, n, m, block_size, bits, group_size, exact;
  };
  for (const Setting& s : {Setting{1, 1, 0, 0, 128, 0, -1, 1}, Setting{7, 40, 0, 0, 16, 0, -1, 1}, Setting{7, 40, 0, 0, 16, 0, -1, 0},
                           Setting{70, 33, 2, 4, 128, 0, -1, 1}, Setting{5, 150, 0, 0, 128, 4, 32, 1}, Setting{3, 40, 1, 3, 8, 3, -1, 1},
                           Setting{0, 4, 0, 0, 128, 0, -1, 1}}) {
    const Owned<double> gram = gram_of(s.columns);
    const Factor factor(gram, s.columns);
    const int64_t groups = s.group_size < 0 ? 1 : (s.columns + s.group_size - 1) / s.group_size, grids = s.bits > 0 ? groups : 0;
    const Owned<float> weight = random_tensor<float>({s.rows, s.columns}, 5), pruned({s.rows, s.columns}), scales({grids, s.rows});
    const Owned<uint8_t> mask({s.rows, s.columns}), codes({s.bits > 0 ? s.rows : 0, s.columns}), zeros({grids, s.rows});
    Owned<uint8_t> held({s.rows, s.columns});
    held.fill([](int64_t e) { return e % 11 != 5; });
    SparsegptPruneColumnsArgs args;
    args.weight = weight.view(), args.factor = factor.factor.view(), args.diagonal = factor.diagonal.view();
    args.order = factor.order.view(), args.dead = factor.dead.view(), args.pruned = pruned.view();
    args.mask = as(OSC_BOOL, mask.view()), args.codes = codes.view(), args.scales = scales.view(), args.zeros = zeros.view();
    args.sparsity = 0.5, args.exact_count = s.exact, args.n = s.n, args.m = s.m, args.block_size = s.block_size;
    args.bits = s.bits, args.group_size = s.group_size;
    // Sums of columns float32 terms in another order; the condition number with damping is below 1e3. The choices are the same.
    const double c = 30 * static_cast<double>(s.columns);
    const Tolerances tolerances{{"pruned", {c}}, {"loss", {c * 0x1p29}}, {"pruning_loss", {c * 0x1p29}}};
    CHECK(same_as_cpu(args, tolerances) == OSC_OK);
    args.held = as(OSC_BOOL, held.view());
    CHECK(same_as_cpu(args, tolerances) == OSC_OK);
  }
}

KERNEL_TEST(obs_refit_rows) {
  for (const auto& [rows, n] : {std::pair<int64_t, int64_t>{1, 1}, {3, 20}}) {
    const Owned<double> gram = gram_of(n);
    const Owned<float> weight = random_tensor<float>({rows, n}, 1), refitted({rows, n});
    Owned<uint8_t> mask({rows, n});
    mask.fill([&](int64_t e) { return e / n > 0 && e % 3 != 0; });  // of the first row nothing stays
    ObsRefitRowsArgs args;
    args.gram = gram.view(), args.weight = weight.view(), args.mask = as(OSC_BOOL, mask.view()), args.refitted = refitted.view();
    args.damping = 0.01;
    CHECK(same_as_cpu(args, {{"refitted", {4}}, {"loss", {1e4}}}) == OSC_OK);
    mask.fill([](int64_t) { return 1; });
    args.damping = -1e3;
    CHECK(same_as_cpu(args) == OSC_NOT_POSITIVE_DEFINITE);
  }
}

KERNEL_TEST(obc_prune_rows) {
  for (const auto& [rows, n, pattern_n, pattern_m] :
       {std::array<int64_t, 4>{1, 1, 0, 0}, {4, 20, 0, 0}, {3, 22, 2, 4}, {2, 9, 0, 3}}) {
    const Owned<double> gram = gram_of(n);
    const Owned<float> weight = random_tensor<float>({rows, n}, 1), pruned({rows, n});
    const Owned<uint8_t> mask({rows, n});
    ObcPruneRowsArgs args;
    args.gram = gram.view(), args.weight = weight.view(), args.pruned = pruned.view(), args.mask = as(OSC_BOOL, mask.view());
    args.damping = 0.01, args.zeros = pattern_m > 0 ? 0 : rows * n / 2, args.n = pattern_n, args.m = pattern_m;
    CHECK(same_as_cpu(args, {{"pruned", {4}}, {"loss", {1e4}}}) == OSC_OK);
    args.damping = -1e3;
    CHECK(same_as_cpu(args) == OSC_NOT_POSITIVE_DEFINITE);
  }
}

KERNEL_TEST(obq_quantize_rows) {
  for (const auto& [rows, n, group] : {std::array<int64_t, 3>{1, 1, -1}, {4, 20, 8}, {3, 17, -1}}) {
    const Owned<double> gram = gram_of(n);
    const int64_t groups = group < 0 ? 1 : (n + group - 1) / group;
    const Owned<float> weight = random_tensor<float>({rows, n}, 1), scales({groups, rows});
    const Owned<uint8_t> codes({rows, n}), zeros({groups, rows});
    ObqQuantizeRowsArgs args;
    args.gram = gram.view(), args.weight = weight.view(), args.codes = codes.view(), args.scales = scales.view();
    args.zeros = zeros.view(), args.damping = 0.01, args.bits = 3, args.group_size = group;
    for (const int64_t greedy : {0, 1}) {
      args.greedy = greedy;
      CHECK(same_as_cpu(args, {{"loss", {1e4}}}) == OSC_OK);
    }
    for (int64_t i = 0; i < groups * rows; ++i) scales[i] = 0.3F, zeros[i] = 4;
    args.given_grids = 1;
    CHECK(same_as_cpu(args, {{"loss", {1e4}}}) == OSC_OK);
  }
}
