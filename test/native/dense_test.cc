// Dense linear algebra in memory of exactly its size, around the block sizes; the numbers are checked in test/kernels.
#include <doctest/doctest.h>

#include <cmath>

#include "kernels.h"
#include "owned.h"

using namespace osc;
using namespace osc::test;

namespace {

constexpr int64_t kSizes[] = {0, 1, 2, 31, 33, 64, 65, 127, 129, 257};

// Diagonally dominant and symmetric; one more matrix in the batch.
template <class Real>
Owned<Real> positive_definite(int64_t batch, int64_t n) {
  Random random(static_cast<uint64_t>(n));
  Owned<Real> a({batch, n, n});
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        const auto value = static_cast<Real>(i == j ? 2.0 : random.next() / static_cast<double>(n));
        a[(b * n + i) * n + j] = a[(b * n + j) * n + i] = value;
      }
    }
  }
  return a;
}

template <class Real>
void check_cholesky(int64_t batch, int64_t n) {
  const auto a = positive_definite<Real>(batch, n);
  Owned<Real> factor({batch, n, n}), inverse({batch, n, n}), right({batch, n, 3}), x({batch, n, 3});
  CholeskyArgs args;
  args.a = a.view(), args.factor = factor.view();
  REQUIRE(run("cholesky", args).code == OSC_OK);
  CholeskyInverseArgs inversion;
  inversion.factor = factor.view(), inversion.inverse = inverse.view();
  REQUIRE(run("cholesky_inverse", inversion).code == OSC_OK);
  const double eps = sizeof(Real) == 4 ? 0x1p-23 : 0x1p-52;
  CHECK(inversion.residual <= 8 * static_cast<double>(n) * eps);
  for (int flags = 0; flags < 4; ++flags) {
    for (const int64_t k : {3, 40}) {
      Owned<Real> b({batch, n, k}), solution({batch, n, k});
      b.fill([](int64_t i) { return i % 5; });
      SolveTriangularArgs solve;
      solve.triangle = (flags & 1) ? a.view() : factor.view();  // the upper half of a is as good a triangle
      solve.b = b.view(), solve.x = solution.view();
      solve.upper = flags & 1, solve.transposed = flags >> 1;
      REQUIRE(run("solve_triangular", solve).code == OSC_OK);
    }
  }
}

template <class Real>
void check_spectral(int64_t n) {
  const auto a = positive_definite<Real>(2, n);
  Owned<Real> values({2, n}), vectors({2, n, n}), root({2, n, n});
  Owned<double> report({2, 5});
  EighArgs args;
  args.a = a.view(), args.values = values.view(), args.vectors = vectors.view();
  REQUIRE(run("eigh", args).code == OSC_OK);
  const double eps = sizeof(Real) == 4 ? 0x1p-23 : 0x1p-52;
  CHECK(args.residual <= static_cast<double>(n + 8) * eps);
  for (int64_t method = 0; method < 5; ++method) {
    for (const int64_t precision : {0, 64}) {
      MatrixInverseRootArgs roots;
      roots.a = a.view(), roots.root = root.view(), roots.report = report.view();
      roots.basis = roots.vectors = vectors.view();
      roots.p = 3, roots.method = method, roots.precision = precision, roots.max_iterations = 50, roots.tolerance = 0.1;
      REQUIRE(run("matrix_inverse_root", roots).code == OSC_OK);
      for (int64_t item = 0; item < 2; ++item) {
        CHECK(report[item * 5] == OSC_OK);
        CHECK(report[item * 5 + 2] <= 40 * static_cast<double>(n + 8) * 0x1p-23);
      }
    }
  }
}

}  // namespace

TEST_CASE("eigh and every way to a root stay inside their memory") {
  for (const int64_t n : {1, 2, 31, 33, 64, 65, 129, 257}) {
    check_spectral<float>(n);
    check_spectral<double>(n);
  }
}

TEST_CASE("cholesky, its inverse and triangular solves stay inside their memory") {
  for (const int64_t n : kSizes) {
    check_cholesky<float>(2, n);
    check_cholesky<double>(1, n);
  }
}

TEST_CASE("dense kernels refuse shapes that do not fit, and stop when told") {
  const auto a = positive_definite<float>(1, 40);
  Owned<float> small({1, 39, 39}), factor({1, 40, 40});
  CholeskyArgs args;
  args.a = a.view(), args.factor = small.view();
  CHECK(run("cholesky", args).code == OSC_ARGUMENT);
  args.factor = factor.view();
  const std::atomic<int32_t> stop{1};
  CHECK(run("cholesky", args, &stop).code == OSC_ABORTED);
  CholeskyInverseArgs inversion;
  inversion.factor = small.view(), inversion.inverse = factor.view();
  CHECK(run("cholesky_inverse", inversion).code == OSC_ARGUMENT);
  SolveTriangularArgs solve;
  solve.triangle = a.view(), solve.b = small.view(), solve.x = small.view();
  CHECK(run("solve_triangular", solve).code == OSC_ARGUMENT);
}
