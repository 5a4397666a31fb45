// Factorizations, eigenvalues and roots of dense matrices, on both sides of the order up to which a matrix is one block's work.
#include <cmath>
#include <limits>

#include "kernel_case.h"

using namespace osc;
using namespace osc::test;

namespace {

template <class T>
constexpr double kEps = sizeof(T) == 4 ? 0x1p-23 : 0x1p-52;

// Symmetric, diagonally dominant, condition below 3: entries beside the diagonal sum up to at most 1/2.
template <class T>
Owned<T> dominant(int64_t batch, int64_t n, uint64_t seed) {
  Owned<T> a = random_tensor<T>({batch, n, n}, seed);
  for (int64_t item = 0; item < batch; ++item) {
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        T& value = a[(item * n + i) * n + j];
        value = i == j ? T(1) + value / 4 : value / static_cast<T>(2 * n);
        a[(item * n + j) * n + i] = value;
      }
    }
  }
  return a;
}

struct Size {
  int64_t batch, n;
};
const Size kSizes[] = {{1, 1}, {3, 2}, {2, 33}, {1, 128}, {2, 130}};

}  // namespace

TEST_CASE_TEMPLATE("cholesky and its inverse", T, float, double) {
  for (const auto& [batch, n] : kSizes) {
    const Owned<T> a = dominant<T>(batch, n, 1), factor({batch, n, n}), inverse({batch, n, n});
    const double c = 4 * static_cast<double>(n);
    CholeskyArgs args;
    args.a = a.view(), args.factor = factor.view(), args.shift = 0.25;
    CHECK(same_as_cpu(args, {{"factor", {c}}}) == OSC_OK);
    REQUIRE(run("cholesky", args).code == OSC_OK);
    for (int64_t i = 0; i + 1 < n; ++i) factor[i * n + n - 1] = std::numeric_limits<T>::quiet_NaN();  // never read
    CholeskyInverseArgs inverse_args;
    inverse_args.factor = factor.view(), inverse_args.inverse = inverse.view();
    CHECK(same_as_cpu(inverse_args, {{"inverse", {c}}, {"residual", {0, 0, c * kEps<T>}}}) == OSC_OK);

    const int64_t last = batch * n * n - 1;
    factor[last] = 0;
    CHECK(same_as_cpu(inverse_args) == OSC_SINGULAR);
    a[last] = -9;
    CHECK(same_as_cpu(args) == OSC_NOT_POSITIVE_DEFINITE);
    if (n < 2) continue;
    a[last - 1] += T(0.5);
    CHECK(same_as_cpu(args) == OSC_ARGUMENT);
    a[last - 1] = std::numeric_limits<T>::infinity();
    CHECK(same_as_cpu(args) == OSC_NON_FINITE);
    a[1] = std::numeric_limits<T>::quiet_NaN();
    CHECK(same_as_cpu(args) == OSC_NON_FINITE);
  }
}
KERNEL_TEST(cholesky) {
  const Owned<double> none({0, 3, 3}), out({0, 3, 3});
  CholeskyArgs args;
  args.a = none.view(), args.factor = out.view();
  CHECK(same_as_cpu(args) == OSC_OK);
}
KERNEL_TEST(cholesky_inverse) {
  const Owned<double> none({2, 0, 0}), out({2, 0, 0});
  CholeskyInverseArgs args;
  args.factor = none.view(), args.inverse = out.view();
  CHECK(same_as_cpu(args) == OSC_OK);
}

KERNEL_TEST(solve_triangular) {
  for (const auto& [batch, n] : kSizes) {
    for (const int64_t k : {1, 40}) {
      const Owned<float> t = dominant<float>(batch, n, 2), b = random_tensor<float>({batch, n, k}, 3), x({batch, n, k});
      SolveTriangularArgs args;
      args.triangle = t.view(), args.b = b.view(), args.x = x.view();
      for (const int64_t upper : {0, 1}) {
        for (const int64_t transposed : {0, 1}) {
          args.upper = upper, args.transposed = transposed;
          CHECK(same_as_cpu(args, {{"x", {4 * static_cast<double>(n)}}}) == OSC_OK);
        }
      }
      t[batch * n * n - 1] = 0;
      CHECK(same_as_cpu(args) == OSC_SINGULAR);
    }
  }
}

KERNEL_TEST(eigh) {
  for (const auto& [batch, n] : kSizes) {
    const Owned<double> a = dominant<double>(batch, n, 4), values({batch, n}), vectors({batch, n, n});
    EighArgs args;
    args.a = a.view(), args.values = values.view(), args.vectors = vectors.view();
    // Eigenvectors are free in their signs; the residual, made of them, is a rounding error on both sides.
    const double c = 4 * static_cast<double>(n + 8);
    CHECK(same_as_cpu(args, {{"values", {c}}, {"vectors", {0, 1}}, {"residual", {0, 0, c * 0x1p-52}}}) == OSC_OK);
    if (n < 2) continue;
    a[1] += 1;
    CHECK(same_as_cpu(args) == OSC_ARGUMENT);
    a[batch * n * n - 1] = std::numeric_limits<double>::infinity();
    CHECK(same_as_cpu(args) == (batch > 1 ? OSC_ARGUMENT : OSC_NON_FINITE));
  }
}

KERNEL_TEST(matrix_inverse_root) {
  constexpr int64_t kTridiagonal = 0, kEigh = 1, kNewton = 2, kPolynomial = 3, kWarm = 4;
  for (const auto& [batch, n] : kSizes) {
    const Owned<double> a = dominant<double>(batch, n, 5), root({batch, n, n}), report({batch, 5});
    const Owned<double> values({batch, n}), basis({batch, n, n});
    EighArgs eigen;
    eigen.a = a.view(), eigen.values = values.view(), eigen.vectors = basis.view();
    REQUIRE(run("eigh", eigen).code == OSC_OK);
    MatrixInverseRootArgs args;
    args.a = a.view(), args.root = root.view(), args.report = report.view(), args.vectors = empty_tensor(OSC_FLOAT64);
    args.ridge = 1e-3, args.max_iterations = 50, args.tolerance = 1e-6;
    // The condition number is below 3 and |root| about 1. In the report the largest eigenvalue is about 1, the residual a
    // rounding error, and the iterations the same: nothing here is close to where one more would be taken.
    const double c = 64 * static_cast<double>(n + 8);
    const Tolerances tolerances{{"root", {c}}, {"report", {0, 0, c * 0x1p-52}}};
    for (const int64_t method : {kTridiagonal, kEigh, kNewton, kPolynomial, kWarm}) {
      for (const int64_t p : {1, 2, 3, 8}) {
        args.method = method, args.p = p;
        args.basis = method == kWarm ? basis.view() : Tensor{};
        CHECK(same_as_cpu(args, tolerances) == OSC_OK);
      }
    }
    if (n < 2) continue;
    a[batch * n * n - 1] = std::numeric_limits<double>::quiet_NaN();
    args.method = kEigh;
    CHECK(same_as_cpu(args, tolerances) == OSC_OK);
    a[batch * n * n - 1] = -9;
    CHECK(same_as_cpu(args, tolerances) == OSC_OK);
    a[1] += 1;
    CHECK(same_as_cpu(args, tolerances) == OSC_OK);
  }
}
