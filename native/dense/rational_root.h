// Powers of a positive definite tridiagonal matrix: T^(-1/p), dense, in O(n^2) operations a node of a quadrature.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "../core/blas.h"
#include "batch.h"
#include "sturm.h"

namespace osc {

// x^-a = sin(pi a) / pi * integral over y of e^((1-a) y) / (x + e^y), 0 < a < 1: the trapezoidal rule of step h, whose error is
// 2 exp(-2 pi^2 / h) of x^-a, cut where both ends weigh less than `accuracy`. For a = 1 there is one node, 1 / x.
struct Quadrature {
  std::vector<double> shift, weight;

  Quadrature(double a, double low, double high, double accuracy) {
    if (a == 1) {
      shift = {0};
      weight = {1};
      return;
    }
    const double bits = -std::log(accuracy), h = 2 * M_PI * M_PI / bits;
    const double from = std::log(low) - bits / (1 - a), to = std::log(high) + bits / a;
    for (double y = from; y < to + h; y += h) {
      shift.push_back(std::exp(y));
      weight.push_back(std::sin(M_PI * a) / M_PI * h * std::exp((1 - a) * y));
    }
  }
};

// The lower half of out[n, ldo] = T^(-1/p). With delta the pivots of T + s I and r_k = -e_k / delta_k, the diagonal of its inverse
// is c_i = 1 / delta_i + r_i^2 c_(i+1) and entry (i, j) is c_i times r_k for j <= k < i: one factorization for all entries and no
// difference, so that the inverse is exactly that of a matrix close by. (Elimination from both ends, 1 / (delta_i - ..), gives
// rows that do not fit each other: an error of the condition number squared.) Within a block of columns the factors are
// multiplied entry by entry, beyond it in a product of matrices with one column a node. Returns false when T is not positive
// definite.
template <class Real>
bool tridiagonal_inverse_root(const TridiagonalView& t, int64_t p, double high, Real* out, int64_t ldo) {
  constexpr int64_t kLanes = 8;
  const int64_t n = t.n, block = n <= 256 ? 16 : 32;
  double trace = 0;  // of T^-1: at least 1 / lambda_min
  {
    std::vector<double> pivots(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      const double before = i ? t.e[i - 1] * t.e[i - 1] / pivots[static_cast<size_t>(i - 1)] : 0.0;
      pivots[static_cast<size_t>(i)] = t.d[i] - before;
      if (!(pivots[static_cast<size_t>(i)] > 0)) return false;
    }
    double entry = 0;
    for (int64_t i = n - 1; i >= 0; --i) {
      const double pivot = pivots[static_cast<size_t>(i)], ratio = i + 1 < n ? t.e[i] / pivot : 0.0;
      trace += entry = 1 / pivot + ratio * ratio * entry;
    }
  }
  if (!(trace > 0) || !std::isfinite(trace)) return false;
  const Quadrature nodes(1.0 / static_cast<double>(p), 1 / trace, high, std::is_same_v<Real, float> ? 3e-8 : 1e-16);
  const auto used = static_cast<int64_t>(nodes.shift.size()), k = (used + kLanes - 1) / kLanes * kLanes;
  const auto ratio = workspace<double>(n * k), row = workspace<double>(n * k);
  const auto left = workspace<Real>(n * k), right = workspace<Real>(block * k);
  std::vector<double> shift(static_cast<size_t>(k), 1.0), weight(static_cast<size_t>(k), 0.0);
  std::copy(nodes.shift.begin(), nodes.shift.end(), shift.begin());
  std::copy(nodes.weight.begin(), nodes.weight.end(), weight.begin());

  // ratio: first the pivots, then -e / pivot. row: the weighted diagonal entries, later the entries at the block's left edge.
  for (int64_t i = 0; i < n; ++i) {
    double *pivot = ratio.get() + i * k, *before = pivot - k;
    const double beside = i ? t.e[i - 1] : 0.0;
    for (int64_t q = 0; q < k; ++q) pivot[q] = t.d[i] + shift[static_cast<size_t>(q)] - (i ? beside * beside / before[q] : 0.0);
  }
  for (int64_t i = n - 1; i >= 0; --i) {
    double *pivot = ratio.get() + i * k, *entry = row.get() + i * k;
    const double beside = i + 1 < n ? t.e[i] : 0.0;
    for (int64_t q = 0; q < k; ++q) {
      const double inverse = 1 / pivot[q], r = -beside * inverse;
      entry[q] = weight[static_cast<size_t>(q)] * inverse + (i + 1 < n ? r * r * entry[q + k] : 0.0);
      pivot[q] = r;
    }
  }
  // Entries that no sum can notice become zero: as subnormal numbers they would make everything many times slower.
  const auto negligible = [](double x) { return std::fabs(x) < 1e-30 ? 0.0 : x; };
  std::vector<double> product(static_cast<size_t>(k));
  for (int64_t first = (n - 1) / block * block; first >= 0; first -= block) {
    const int64_t end = std::min(n, first + block), rows = n - end;
    if (rows > 0) {
      std::fill(product.begin(), product.end(), 1.0);
      for (int64_t j = end - 1; j >= first; --j) {
        for (int64_t q = 0; q < k; ++q) {
          product[static_cast<size_t>(q)] = negligible(product[static_cast<size_t>(q)] * ratio[j * k + q]);
          right[(j - first) * k + q] = static_cast<Real>(product[static_cast<size_t>(q)]);
        }
      }
      for (int64_t at = end * k; at < n * k; ++at) left[at] = static_cast<Real>(row[at]);
      gemm(CblasNoTrans, CblasTrans, rows, end - first, k, Real(1), left.get() + end * k, k, right.get(), k, Real(0),
           out + end * ldo + first, ldo);
      for (int64_t i = end; i < n; ++i) {
        for (int64_t q = 0; q < k; ++q) row[i * k + q] = negligible(row[i * k + q] * product[static_cast<size_t>(q)]);
      }
    }
    for (int64_t i = first; i < end; ++i) {
      double* entry = row.get() + i * k;
      for (int64_t j = i; j >= first; --j) {
        double sums[kLanes] = {};
        for (int64_t q = 0; q < k; q += kLanes) {
          for (int64_t lane = 0; lane < kLanes; ++lane) {
            if (j < i) entry[q + lane] *= ratio[j * k + q + lane];
            sums[lane] += entry[q + lane];
          }
        }
        double sum = 0;
        for (const double x : sums) sum += x;
        out[i * ldo + j] = static_cast<Real>(sum);
      }
    }
  }
  return true;
}

}  // namespace osc
