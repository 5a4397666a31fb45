// Random numbers, flat vectors, fused optimizer steps.
#include <limits>

#include "kernel_case.h"

using namespace osc;
using namespace osc::test;

namespace {

constexpr int64_t kSizes[] = {0, 1, 37, 5003};
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

Owned<float> positive(int64_t size, uint64_t seed) {
  Random random(seed);
  return std::move(Owned<float>({size}).fill([&](int64_t) { return random.next() * 0.5 + 0.5; }));
}

// Rows (end, block): two tensors, the first averaged in runs of 4, the second not.
Owned<int32_t> two_segments(int64_t size) {
  Owned<int32_t> segments({2, 2});
  segments[0] = static_cast<int32_t>(size / 8 * 4), segments[1] = 4;
  segments[2] = static_cast<int32_t>(size), segments[3] = 1;
  return segments;
}

}  // namespace

KERNEL_TEST(random_fill) {
  for (const int64_t kind : {0, 1, 2}) {
    for (const int64_t size : kSizes) {
      for (const int64_t index : {int64_t{0}, int64_t{129}, int64_t{1} << 40}) {
        Owned<float> y({size});
        RandomFillArgs args;
        args.y = y.view();
        args.kind = kind, args.seed = 12345, args.stream = 7, args.step = 3, args.index = index;
        args.scale = 1.5, args.shift = -0.25;
        CHECK(same_as_cpu(args) == OSC_OK);
      }
    }
  }
}

KERNEL_TEST(sgd_momentum_step) {
  for (const int64_t size : kSizes) {
    for (const int64_t nesterov : {0, 1}) {
      const Owned<float> grad = random_tensor<float>({size}, 1), theta = random_tensor<float>({size}, 2), buffer = random_tensor<float>({size}, 3);
      SgdMomentumStepArgs args;
      args.grad = grad.view(), args.theta = theta.view(), args.buffer = buffer.view();
      args.lr = 0.1, args.momentum = 0.9, args.weight_decay = 0.01, args.nesterov = nesterov, args.check_finite = 1;
      CHECK(same_as_cpu(args) == OSC_OK);
      if (size == 0) continue;
      grad[size / 2] = kNaN;
      CHECK(same_as_cpu(args) == OSC_NON_FINITE);
    }
  }
}

KERNEL_TEST(adamw_step) {
  for (const int64_t size : kSizes) {
    const Owned<float> grad = random_tensor<float>({size}, 1), theta = random_tensor<float>({size}, 2), m = random_tensor<float>({size}, 3);
    const Owned<float> v = positive(size, 4);
    AdamwStepArgs args;
    args.grad = grad.view(), args.theta = theta.view(), args.m = m.view(), args.v = v.view();
    args.lr = 0.1, args.beta1 = 0.9, args.beta2 = 0.99, args.eps = 1e-8, args.weight_decay = 0.01, args.step = 3, args.check_finite = 1;
    CHECK(same_as_cpu(args) == OSC_OK);
    if (size == 0) continue;
    grad[size - 1] = kNaN;
    CHECK(same_as_cpu(args) == OSC_NON_FINITE);
  }
}

KERNEL_TEST(adahessian_step) {
  for (const int64_t size : {int64_t{0}, int64_t{8}, int64_t{5000}, int64_t{20000}}) {
    for (const double power : {1.0, 0.5, 0.0, 0.7}) {
      const Owned<float> grad = random_tensor<float>({size}, 1), theta = random_tensor<float>({size}, 2), m = random_tensor<float>({size}, 3);
      const Owned<float> diagonal = random_tensor<float>({size}, 5), v = positive(size, 4);
      Owned<int32_t> segments = two_segments(size);
      AdahessianStepArgs args;
      args.grad = grad.view(), args.diagonal = diagonal.view(), args.theta = theta.view(), args.m = m.view(), args.v = v.view();
      args.lr = 0.1, args.beta1 = 0.9, args.beta2 = 0.99, args.eps = 1e-4, args.weight_decay = 0.01, args.hessian_power = power;
      args.min_denominator = 1e-8, args.step = 2, args.check_finite = 1;
      // powf differs by a few ulp, and the step is a difference of numbers of size one.
      const Tolerances tolerances{{"theta", {power == 0.7 ? 8.0 : 0.0}}};
      CHECK(same_as_cpu(args, tolerances) == OSC_OK);
      args.segments = segments.view();
      CHECK(same_as_cpu(args, tolerances) == OSC_OK);
      // Blocks for a warp each, and one that is longer than a tile.
      for (const int32_t block : {500, 12000}) {
        if (size != 20000) continue;
        segments[0] = 12000, segments[1] = block;
        CHECK(same_as_cpu(args, tolerances) == OSC_OK);
      }
      if (size == 0) continue;
      segments[1] = 7;
      CHECK(same_as_cpu(args) == OSC_ARGUMENT);
      args.segments = OscTensor{};
      diagonal[size / 2] = kNaN;
      CHECK(same_as_cpu(args) == OSC_NON_FINITE);
    }
  }
}

KERNEL_TEST(sophia_step) {
  for (const int64_t size : kSizes) {
    for (const int64_t hutchinson : {0, 1}) {
      const Owned<float> grad = random_tensor<float>({size}, 1), theta = random_tensor<float>({size}, 2), m = random_tensor<float>({size}, 3);
      const Owned<float> h = random_tensor<float>({size}, 4);
      const Owned<double> clipped({1});
      SophiaStepArgs args;
      args.grad = grad.view(), args.h = h.view(), args.theta = theta.view(), args.m = m.view(), args.clipped = clipped.view();
      args.lr = 0.1, args.beta1 = 0.9, args.weight_decay = 0.1, args.scale = 2, args.hutchinson = hutchinson, args.check_finite = 1;
      CHECK(same_as_cpu(args) == OSC_OK);
      if (size == 0) continue;
      grad[0] = kNaN;
      CHECK(same_as_cpu(args) == OSC_NON_FINITE);
    }
  }
}

KERNEL_TEST(innaprop_step) {
  for (const int64_t size : kSizes) {
    const Owned<float> grad = random_tensor<float>({size}, 1), theta = random_tensor<float>({size}, 2), lag = random_tensor<float>({size}, 3);
    const Owned<float> v = positive(size, 4);
    InnapropStepArgs args;
    args.grad = grad.view(), args.theta = theta.view(), args.lag = lag.view(), args.v = v.view();
    args.lr = 0.1, args.alpha = 0.1, args.beta = 0.9, args.sigma = 0.99, args.eps = 1e-8, args.weight_decay = 0.01, args.step = 3, args.check_finite = 1;
    CHECK(same_as_cpu(args) == OSC_OK);
    if (size == 0) continue;
    grad[size - 1] = kNaN;
    CHECK(same_as_cpu(args) == OSC_NON_FINITE);
  }
}

KERNEL_TEST(oasis_step) {
  for (const int64_t size : kSizes) {
    for (const bool averaged : {false, true}) {
      const Owned<float> grad = random_tensor<float>({size}, 1), theta = random_tensor<float>({size}, 2), m = random_tensor<float>({averaged ? size : 0}, 3);
      const Owned<float> diagonal = random_tensor<float>({size}, 4), curvature = random_tensor<float>({size}, 5);
      OasisStepArgs args;
      args.grad = grad.view(), args.diagonal = diagonal.view(), args.theta = theta.view(), args.m = m.view(), args.curvature = curvature.view();
      args.lr = 0.1, args.beta1 = averaged ? 0.9 : 0.0, args.beta2 = 0.99, args.alpha = 0.2, args.weight_decay = 0.01, args.step = 3, args.check_finite = 1;
      CHECK(same_as_cpu(args) == OSC_OK);
      if (size == 0) continue;
      diagonal[size / 2] = kNaN;
      CHECK(same_as_cpu(args) == OSC_NON_FINITE);
    }
  }
}

KERNEL_TEST(adafisher_step) {
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{0, 3}, {1, 1}, {37, 1}, {7, 715}, {1, 5003}}) {
    const int64_t size = rows * columns;
    for (const int64_t l2 : {0, 1}) {
      const Owned<float> grad = random_tensor<float>({size}, 1), theta = random_tensor<float>({size}, 2), m = random_tensor<float>({size}, 3);
      const Owned<float> s = positive(rows, 4), h = positive(columns, 5), more = positive(columns + 1, 5);
      AdafisherStepArgs args;
      args.grad = grad.view(), args.theta = theta.view(), args.m = m.view();
      args.lr = 0.1, args.beta = 0.9, args.damping = 1e-3, args.weight_decay = 0.01, args.l2 = l2, args.step = 3, args.check_finite = 1;
      CHECK(same_as_cpu(args) == OSC_OK);
      args.rows = s.view(), args.columns = h.view();
      CHECK(same_as_cpu(args) == OSC_OK);
      args.columns = more.view();
      CHECK(same_as_cpu(args) == (size == 0 ? OSC_OK : OSC_ARGUMENT));
      args.columns = h.view();
      if (size == 0) continue;
      grad[size / 2] = kNaN;
      CHECK(same_as_cpu(args) == OSC_NON_FINITE);
    }
  }
}

KERNEL_TEST(hutchinson_accumulate) {
  for (const int64_t size : {int64_t{0}, int64_t{8}, int64_t{5000}, int64_t{20000}}) {
    for (const int64_t kind : {0, 1, 2}) {
      for (const int64_t count : {0, 3}) {
        const Owned<float> hv = random_tensor<float>({size}, 1), mean = random_tensor<float>({size}, 2), m2 = positive(size, 3);
        const Owned<float> ema = random_tensor<float>({size}, 4), probe = random_tensor<float>({size}, 5);
        const Owned<double> total({1});
        Owned<int32_t> segments = two_segments(size);
        HutchinsonAccumulateArgs args;
        args.hv = hv.view(), args.mean = mean.view(), args.m2 = m2.view(), args.ema = ema.view(), args.total = total.view();
        args.kind = kind, args.count = count, args.beta = 0.9, args.seed = 5, args.stream = 1, args.step = 2, args.index = 77, args.check_finite = 1;
        // The total is a sum in float64, whose order may differ.
        const Tolerances tolerances{{"total", {static_cast<double>(size)}}};
        CHECK(same_as_cpu(args, tolerances) == OSC_OK);
        args.segments = segments.view();
        if (kind == 0) args.probe = probe.view();
        CHECK(same_as_cpu(args, tolerances) == OSC_OK);
        args.mean = args.m2 = empty_tensor(OSC_FLOAT32);
        CHECK(same_as_cpu(args, tolerances) == OSC_OK);
        if (size == 0) continue;
        hv[size / 2] = kNaN;
        CHECK(same_as_cpu(args) == OSC_NON_FINITE);
      }
    }
  }
}

namespace {

template <class T>
void reduce_vectors() {
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{1, 0}, {1, 1}, {3, 33}, {2, 17000}}) {
    const Owned<T> x = random_tensor<T>({rows, columns + 2}, 1), y = random_tensor<T>({columns}, 2);
    const Owned<double> result({rows});
    for (const int64_t operation : {0, 1, 2, 3}) {
      VectorReduceArgs args;
      args.x = x.view();
      args.x.shape[1] = columns;
      if (operation == 1) args.y = y.view();
      args.result = result.view();
      args.operation = operation;
      CHECK(same_as_cpu(args, {{"result", {operation == 3 ? 0 : static_cast<double>(columns)}}}) == OSC_OK);
    }
  }
}

template <class T>
void scaled_sums() {
  for (const int64_t size : kSizes) {
    const Owned<T> x = random_tensor<T>({size}, 1), y = random_tensor<T>({size}, 2);
    for (const double b : {0.0, -2.0}) {
      AxpbyArgs args;
      args.x = x.view(), args.y = y.view(), args.a = 0.3, args.b = b;
      CHECK(same_as_cpu(args) == OSC_OK);
      args.x = OscTensor{};
      CHECK(same_as_cpu(args) == OSC_OK);
    }
  }
}

template <class T>
void combinations() {
  for (const auto& [rows, terms, columns] : {std::array<int64_t, 3>{1, 1, 1}, {5, 3, 100}, {2, 0, 7}, {17, 20, 2100}}) {
    const Owned<double> coefficients = random_tensor<double>({rows, terms}, 1);
    const Owned<T> x = random_tensor<T>({terms, columns}, 2), y = random_tensor<T>({rows, columns}, 3);
    for (const double beta : {0.0, 0.5}) {
      CombineRowsArgs args;
      args.coefficients = coefficients.view(), args.x = x.view(), args.y = y.view(), args.alpha = -1.5, args.beta = beta;
      CHECK(same_as_cpu(args, {{"y", {1}}}) == OSC_OK);
    }
  }
}

template <class T>
void cg_steps() {
  for (const int64_t size : kSizes) {
    const Owned<T> p = random_tensor<T>({size}, 1), ap = random_tensor<T>({size}, 2), x = random_tensor<T>({size}, 3), r = random_tensor<T>({size}, 4);
    const Owned<double> rr({1});
    CgUpdateArgs args;
    args.p = p.view(), args.ap = ap.view(), args.x = x.view(), args.r = r.view(), args.rr = rr.view(), args.alpha = 0.7;
    CHECK(same_as_cpu(args, {{"rr", {static_cast<double>(size)}}}) == OSC_OK);
  }
}

}  // namespace

KERNEL_TEST(vector_reduce) {
  reduce_vectors<float>();
  reduce_vectors<double>();
}

KERNEL_TEST(axpby) {
  scaled_sums<float>();
  scaled_sums<double>();
}

KERNEL_TEST(combine_rows) {
  combinations<float>();
  combinations<double>();
}

KERNEL_TEST(cg_update) {
  cg_steps<float>();
  cg_steps<double>();
}
