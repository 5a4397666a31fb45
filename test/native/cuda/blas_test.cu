// blas.h against loops in float64: what the library answers, and the tiled kernels of ours.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "common/blas.h"
#include "common/blas_tiled.h"
#include "on_device.h"
#include "owned.h"

using namespace osc;
using namespace osc::test;

namespace {

constexpr Transpose kBoth[] = {Transpose::kNo, Transpose::kYes};

template <class T>
std::vector<T> random_values(int64_t count, uint64_t seed) {
  Random random(seed);
  std::vector<T> values(static_cast<size_t>(count));
  for (T& value : values) value = static_cast<T>(random.next());
  return values;
}

// Element (i, j) of op(matrix).
template <class T>
double element(const std::vector<T>& values, Transpose trans, int64_t stride, int64_t i, int64_t j) {
  return values[static_cast<size_t>(trans == Transpose::kYes ? j * stride + i : i * stride + j)];
}

// |got - expected| within n eps of the magnitude of what was summed.
template <class T>
void check_near(double got, double expected, int64_t n, double magnitude) {
  const double tolerance = 4 * static_cast<double>(n + 1) * static_cast<double>(std::numeric_limits<T>::epsilon()) * magnitude;
  CHECK(std::abs(got - expected) <= tolerance);
}

template <class T>
struct Implementation {
  const char* name;
  std::function<Status(Transpose, Transpose, int64_t, int64_t, int64_t, T, const T*, int64_t, int64_t, const T*, int64_t, int64_t, T,
                       T*, int64_t, int64_t, int64_t)>
      gemm;
  std::function<Status(Transpose, int64_t, int64_t, T, const T*, int64_t, T, T*, int64_t)> syrk;
  std::function<Status(Side, Triangle, Transpose, int64_t, int64_t, T, const T*, int64_t, T*, int64_t)> trsm;
  std::function<Status(int64_t, T*, int64_t, int32_t*)> potrf;
};

template <class T>
std::vector<Implementation<T>> implementations() {
  return {{"library", gemm_batched<T>, osc::syrk<T>, osc::trsm<T>, osc::potrf<T>},
          {"tiled", tiled::gemm_batched<T>, tiled::syrk<T>, tiled::trsm<T>, tiled::potrf<T>}};
}

constexpr double kUntouched = 77;

}  // namespace

TEST_CASE_TEMPLATE("gemm, every transposition, strided and batched", T, float, double) {
  for (const Implementation<T>& blas : implementations<T>()) {
    INFO(blas.name);
    for (const auto& [m, n, k, batch] : {std::array<int64_t, 4>{1, 1, 1, 1}, {65, 33, 17, 2}, {7, 130, 40, 3}, {64, 64, 16, 1}}) {
      for (const Transpose ta : kBoth) {
        for (const Transpose tb : kBoth) {
          const int64_t lda = (ta == Transpose::kYes ? m : k) + 3, ldb = (tb == Transpose::kYes ? k : n) + 1, ldc = n + 2;
          const int64_t a_size = (ta == Transpose::kYes ? k : m) * lda, b_size = (tb == Transpose::kYes ? n : k) * ldb;
          const std::vector<T> a = random_values<T>(a_size * batch, 1), b = random_values<T>(b_size, 2);
          const std::vector<T> c(static_cast<size_t>(m * ldc * batch), T(kUntouched));
          const OnDevice<T> on_a(a), on_b(b), on_c(c);
          REQUIRE(blas.gemm(ta, tb, m, n, k, T(-2), on_a.get(), lda, a_size, on_b.get(), ldb, 0, T(0.5), on_c.get(), ldc, m * ldc,
                            batch).code == OSC_OK);
          const std::vector<T> got = on_c.values();
          for (int64_t z = 0; z < batch; ++z) {
            const std::vector<T> part(a.begin() + z * a_size, a.begin() + (z + 1) * a_size);
            for (int64_t i = 0; i < m; ++i) {
              for (int64_t j = 0; j < ldc; ++j) {
                double sum = j < n ? 0.5 * kUntouched : kUntouched;
                for (int64_t l = 0; j < n && l < k; ++l) sum -= 2 * element(part, ta, lda, i, l) * element(b, tb, ldb, l, j);
                check_near<T>(got[static_cast<size_t>((z * m + i) * ldc + j)], sum, k, 40);
              }
            }
          }
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("gemm: beta = 0 reads nothing, k = 0 scales", T, float, double) {
  const std::vector<T> a = random_values<T>(35, 3);
  const OnDevice<T> on_a(a), fresh(25);  // NaN
  REQUIRE(gemm<T>(Transpose::kNo, Transpose::kYes, 5, 5, 7, 1, on_a.get(), 7, on_a.get(), 7, 0, fresh.get(), 5).code == OSC_OK);
  for (const T value : fresh.values()) CHECK(std::isfinite(value));
  const OnDevice<T> ones(std::vector<T>(6, 1));
  REQUIRE(gemm<T>(Transpose::kNo, Transpose::kNo, 2, 3, 0, 1, on_a.get(), 0, on_a.get(), 3, 3, ones.get(), 3).code == OSC_OK);
  CHECK(ones.values() == std::vector<T>(6, 3));
  CHECK(gemm<T>(Transpose::kNo, Transpose::kNo, 0, 3, 2, 1, on_a.get(), 2, on_a.get(), 3, 3, ones.get(), 3).code == OSC_OK);
  CHECK(gemm<T>(Transpose::kNo, Transpose::kNo, int64_t{1} << 31, 3, 2, 1, on_a.get(), 2, on_a.get(), 3, 3, ones.get(), 3).code ==
        OSC_ARGUMENT);
}

TEST_CASE_TEMPLATE("syrk writes the lower half only", T, float, double) {
  for (const Implementation<T>& blas : implementations<T>()) {
    INFO(blas.name);
    for (const auto& [n, k] : {std::array<int64_t, 2>{1, 3}, {67, 20}, {128, 33}}) {
      for (const Transpose trans : kBoth) {
        const int64_t lda = (trans == Transpose::kYes ? n : k) + 1, ldc = n + 1;
        const std::vector<T> a = random_values<T>((trans == Transpose::kYes ? k : n) * lda, 4);
        const OnDevice<T> on_a(a), on_c(std::vector<T>(static_cast<size_t>(n * ldc), T(kUntouched)));
        REQUIRE(blas.syrk(trans, n, k, T(0.5), on_a.get(), lda, T(2), on_c.get(), ldc).code == OSC_OK);
        const std::vector<T> got = on_c.values();
        for (int64_t i = 0; i < n; ++i) {
          for (int64_t j = 0; j < ldc; ++j) {
            double sum = j <= i ? 2 * kUntouched : kUntouched;
            for (int64_t l = 0; j <= i && l < k; ++l) sum += 0.5 * element(a, trans, lda, i, l) * element(a, trans, lda, j, l);
            check_near<T>(got[static_cast<size_t>(i * ldc + j)], sum, k, 160);
          }
        }
      }
    }
  }
}

TEST_CASE_TEMPLATE("trsm, all eight variants", T, float, double) {
  for (const Implementation<T>& blas : implementations<T>()) {
    INFO(blas.name);
    for (const auto& [m, n] : {std::array<int64_t, 2>{1, 1}, {70, 5}, {33, 64}, {3, 97}}) {
      for (const Side side : {Side::kLeft, Side::kRight}) {
        for (const Triangle triangle : {Triangle::kLower, Triangle::kUpper}) {
          for (const Transpose trans : kBoth) {
            const int64_t order = side == Side::kLeft ? m : n, lda = order + 2, ldb = n + 1;
            // Off the diagonal small, so that the solution does not grow; outside of the triangle NaN.
            std::vector<T> a = random_values<T>(order * lda, 5);
            for (int64_t i = 0; i < order; ++i) {
              for (int64_t j = 0; j < lda; ++j) {
                T& value = a[static_cast<size_t>(i * lda + j)];
                const bool inside = triangle == Triangle::kLower ? j <= i : j >= i;
                if (i == j) value = T(1.5) + value / 2;
                else if (inside) value /= static_cast<T>(order);
                else value = std::numeric_limits<T>::quiet_NaN();
              }
            }
            const std::vector<T> b = random_values<T>(m * ldb, 6);
            const OnDevice<T> on_a(a), on_b(b);
            REQUIRE(blas.trsm(side, triangle, trans, m, n, T(3), on_a.get(), lda, on_b.get(), ldb).code == OSC_OK);
            const std::vector<T> x = on_b.values();
            const auto at = [&](int64_t i, int64_t j) {  // op(A), zero outside
              const bool inside = (triangle == Triangle::kLower) == (trans == Transpose::kNo) ? j <= i : j >= i;
              return inside ? element(a, trans, lda, i, j) : 0.0;
            };
            for (int64_t i = 0; i < m; ++i) {
              for (int64_t j = 0; j < n; ++j) {
                double sum = 0;
                for (int64_t l = 0; l < order; ++l) {
                  sum += side == Side::kLeft ? at(i, l) * x[static_cast<size_t>(l * ldb + j)] : x[static_cast<size_t>(i * ldb + l)] * at(l, j);
                }
                check_near<T>(sum, 3.0 * b[static_cast<size_t>(i * ldb + j)], order, 6);
              }
              CHECK(x[static_cast<size_t>(i * ldb + n)] == b[static_cast<size_t>(i * ldb + n)]);
            }
          }
        }
      }
    }
  }
}

namespace {

// Symmetric positive definite, condition about 1e3: B B^T / n with a falling scale of rows, plus a little of the identity.
template <class T>
std::vector<T> definite(int64_t n, int64_t lda, uint64_t seed) {
  const std::vector<double> b = random_values<double>(n * n, seed);
  std::vector<T> a(static_cast<size_t>(n * lda), T(kUntouched));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = i == j ? 1e-3 : 0;
      for (int64_t l = 0; l < n; ++l) sum += b[static_cast<size_t>(i * n + l)] * b[static_cast<size_t>(j * n + l)] / static_cast<double>(n);
      a[static_cast<size_t>(i * lda + j)] = static_cast<T>(sum);
    }
  }
  return a;
}

}  // namespace

TEST_CASE_TEMPLATE("potrf, and the order of a minor that fails", T, float, double) {
  for (const Implementation<T>& blas : implementations<T>()) {
    INFO(blas.name);
    for (const int64_t n : {1, 2, 31, 32, 33, 100}) {
      const int64_t lda = n + 3;
      std::vector<T> a = definite<T>(n, lda, 7);
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = i + 1; j < n; ++j) a[static_cast<size_t>(i * lda + j)] = T(kUntouched);
      }
      const OnDevice<T> on_a(a);
      const OnDevice<int32_t> info(1);
      REQUIRE(blas.potrf(n, on_a.get(), lda, info.get()).code == OSC_OK);
      CHECK(info.values()[0] == 0);
      const std::vector<T> l = on_a.values();
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < lda; ++j) {
          if (j > i) {
            CHECK(l[static_cast<size_t>(i * lda + j)] == T(kUntouched));
            continue;
          }
          double sum = 0;
          for (int64_t k = 0; k <= j; ++k) sum += static_cast<double>(l[static_cast<size_t>(i * lda + k)]) * l[static_cast<size_t>(j * lda + k)];
          check_near<T>(sum, a[static_cast<size_t>(i * lda + j)], n, 1);
        }
      }
      for (const int64_t bad : {int64_t{0}, n / 2, n - 1}) {
        std::vector<T> broken = a;
        broken[static_cast<size_t>(bad * lda + bad)] = T(-1);
        const OnDevice<T> on_broken(broken);
        REQUIRE(blas.potrf(n, on_broken.get(), lda, info.get()).code == OSC_OK);
        CHECK(info.values()[0] == bad + 1);
      }
    }
  }
  const OnDevice<int32_t> info(1);
  CHECK(potrf<T>(0, nullptr, 1, info.get()).code == OSC_OK);
  CHECK(info.values()[0] == 0);
}

TEST_CASE_TEMPLATE("trtri", T, float, double) {
  for (const int64_t n : {1, 31, 32, 33, 100, 129}) {
    const int64_t lda = n + 1;
    std::vector<T> a = random_values<T>(n * lda, 8);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < lda; ++j) {
        T& value = a[static_cast<size_t>(i * lda + j)];
        value = i == j ? T(1.5) + value / 2 : j > i ? std::numeric_limits<T>::quiet_NaN() : value / static_cast<T>(n);
      }
    }
    const OnDevice<T> on_a(a);
    REQUIRE(trtri(n, on_a.get(), lda).code == OSC_OK);
    const std::vector<T> x = on_a.values();
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        double sum = 0;
        for (int64_t k = j; k <= i; ++k) sum += static_cast<double>(a[static_cast<size_t>(i * lda + k)]) * x[static_cast<size_t>(k * lda + j)];
        check_near<T>(sum, i == j ? 1 : 0, n, 2);
      }
      if (i + 1 < n) CHECK(std::isnan(x[static_cast<size_t>(i * lda + i + 1)]));
    }
  }
}

TEST_CASE_TEMPLATE("syevd: eigenvectors in rows", T, float, double) {
  for (const int64_t n : {1, 2, 50}) {
    const int64_t lda = n + 2;
    const std::vector<T> a = definite<T>(n, lda, 9);
    const OnDevice<T> on_a(a), on_values(n);
    const OnDevice<int32_t> info(1);
    REQUIRE(syevd(n, on_a.get(), lda, on_values.get(), info.get()).code == OSC_OK);
    CHECK(info.values()[0] == 0);
    const std::vector<T> v = on_a.values(), w = on_values.values();
    CHECK(std::is_sorted(w.begin(), w.end()));
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double product = 0, dot = 0;
        for (int64_t k = 0; k < n; ++k) {
          product += static_cast<double>(a[static_cast<size_t>(j * lda + k)]) * v[static_cast<size_t>(i * lda + k)];
          dot += static_cast<double>(v[static_cast<size_t>(j * lda + k)]) * v[static_cast<size_t>(i * lda + k)];
        }
        check_near<T>(product, static_cast<double>(w[static_cast<size_t>(i)]) * v[static_cast<size_t>(i * lda + j)], n, 2);
        check_near<T>(dot, i == j ? 1 : 0, n, 1);
      }
    }
  }
}
