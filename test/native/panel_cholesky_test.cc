// The Cholesky in panels against a plain loop over the definition.
#include "kernels/panel_cholesky.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "owned.h"

using namespace osc;
using namespace osc::test;

namespace {

struct Threads {
  explicit Threads(int count) : before(thread_count()) { set_thread_count(count); }
  ~Threads() { set_thread_count(before); }
  int before;
};

// A^T A / n + 1/10 of the identity for random A: its condition number is at most 50.
std::vector<double> positive_definite(int64_t n) {
  Random random(static_cast<uint64_t>(n));
  std::vector<double> a(static_cast<size_t>(n * n)), m(a.size());
  for (double& x : a) x = random.next();
  for (int64_t k = 0; k < n; ++k) {
    for (int64_t i = 0; i < n; ++i) {
      const double x = a[static_cast<size_t>(k * n + i)] / static_cast<double>(n);
      for (int64_t j = 0; j <= i; ++j) m[static_cast<size_t>(i * n + j)] += x * a[static_cast<size_t>(k * n + j)];
    }
  }
  for (int64_t i = 0; i < n; ++i) m[static_cast<size_t>(i * n + i)] += 0.1;
  return m;
}

std::vector<double> plain_cholesky(std::vector<double> m, int64_t n) {
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = j; i < n; ++i) {
      double sum = m[static_cast<size_t>(i * n + j)];
      for (int64_t k = 0; k < j; ++k) sum -= m[static_cast<size_t>(i * n + k)] * m[static_cast<size_t>(j * n + k)];
      m[static_cast<size_t>(i * n + j)] = i == j ? std::sqrt(sum) : sum / m[static_cast<size_t>(j * n + j)];
    }
  }
  return m;
}

template <class Real>
struct Result {
  int64_t failed;
  std::vector<Real> factor, diagonal, inverse;
};

template <class Real>
Result<Real> factor(const std::vector<double>& m, int64_t n, const std::atomic<int32_t>* cancelled = nullptr) {
  PanelCholesky<Real> cholesky(n);
  REQUIRE(cholesky);
  Result<Real> result{0, std::vector<Real>(static_cast<size_t>(n * n)), {}, {}};
  const Context context{cancelled, nullptr, nullptr};
  result.failed = cholesky.factor(
      context,
      [&](int64_t i, int64_t from, int64_t to, Real* row) {
        for (int64_t k = from; k < to; ++k) row[k - from] = static_cast<Real>(m[static_cast<size_t>(i * n + k)]);
      },
      [&](int64_t i, int64_t from, int64_t to, const Real* row) {
        for (int64_t k = from; k < to; ++k) result.factor[static_cast<size_t>(i * n + k)] += row[k - from];  // once
      });
  for (int64_t j = 0; j < n; ++j) {
    result.diagonal.push_back(cholesky.diagonal(j));
    result.inverse.push_back(cholesky.inverse_diagonal()[j]);
  }
  return result;
}

template <class Real>
void check_against_loop(double eps) {
  for (int64_t n : {1, 2, 23, 24, 25, 48, 49, 191, 250, 611}) {
    CAPTURE(n);
    const std::vector<double> m = positive_definite(n);
    const std::vector<double> expected = plain_cholesky(m, n);
    const Result<Real> found = factor<Real>(m, n);
    REQUIRE(found.failed == -1);
    const double tolerance = 4 * 50 * static_cast<double>(n) * eps;  // condition 50, c = 4 of docs/numerics.md
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        const auto at = static_cast<size_t>(i * n + j);
        REQUIRE(std::abs(static_cast<double>(found.factor[at]) - expected[at]) <= tolerance);
      }
      const auto at = static_cast<size_t>(i);
      REQUIRE(found.diagonal[at] == found.factor[at * static_cast<size_t>(n) + at]);
      REQUIRE(std::abs(static_cast<double>(found.diagonal[at] * found.inverse[at]) - 1) <= 4 * eps);
    }
  }
}

}  // namespace

TEST_CASE("Cholesky in panels: the factor of a plain loop") {
  check_against_loop<double>(0x1p-52);
  check_against_loop<float>(0x1p-23);
}

TEST_CASE("Cholesky in panels: threads change no bit") {
  const int64_t n = 700;
  const std::vector<double> m = positive_definite(n);
  const auto on = [&](int threads) {
    const Threads scope(threads);
    return factor<double>(m, n).factor;
  };
  const std::vector<double> one = on(1);
  for (int repeat = 0; repeat < 5; ++repeat) {
    CHECK(on(2) == one);
    CHECK(on(5) == one);
  }
}

TEST_CASE("Cholesky in panels: the first pivot that fails, on any number of threads") {
  const int64_t n = 500;
  for (int64_t at : {0, 1, 23, 24, 137, 498, 499}) {
    for (const double pivot : {-1.0, std::nan("")}) {
      std::vector<double> m = positive_definite(n);
      m[static_cast<size_t>(at * n + at)] = pivot;
      for (int threads : {1, 2, 4}) {
        CAPTURE(at);
        const Threads scope(threads);
        CHECK(factor<double>(m, n).failed == at);
        CHECK(factor<float>(m, n).failed == at);
      }
    }
  }
}

TEST_CASE("Cholesky in panels: cancelled before it starts, and nothing to do") {
  std::atomic<int32_t> cancelled{1};
  CHECK(factor<double>(positive_definite(100), 100, &cancelled).failed == -2);
  CHECK(factor<double>({}, 0).failed == -1);
}
