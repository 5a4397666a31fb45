// Eigenvalues of symmetric tridiagonal matrices by counting signs.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

namespace osc {

// A symmetric tridiagonal matrix in float64: d[n], and e[i] beside d[i] and d[i + 1].
struct TridiagonalView {
  const double* d;
  const double* e;
  int64_t n;
};

// Number of eigenvalues below x (Sturm): the negative pivots of T - x I.
inline int64_t eigenvalues_below(const TridiagonalView& t, double x) {
  int64_t count = 0;
  double pivot = 1;
  for (int64_t i = 0; i < t.n; ++i) {
    const double beside = i ? t.e[i - 1] : 0.0;
    pivot = t.d[i] - x - (i ? beside * beside / pivot : 0.0);
    if (pivot == 0) pivot = -0x1p-1000;
    count += pivot < 0;
  }
  return count;
}

// The largest eigenvalue, to 2^-50 of the largest in size, by bisection.
inline double largest_eigenvalue(const TridiagonalView& t) {
  double low = 0, high = 0;  // the discs of Gershgorin
  for (int64_t i = 0; i < t.n; ++i) {
    const double radius = (i ? std::fabs(t.e[i - 1]) : 0.0) + (i + 1 < t.n ? std::fabs(t.e[i]) : 0.0);
    low = i ? std::min(low, t.d[i] - radius) : t.d[i] - radius;
    high = i ? std::max(high, t.d[i] + radius) : t.d[i] + radius;
  }
  const double accuracy = 0x1p-50 * std::max(std::fabs(low), std::fabs(high));
  while (high - low > accuracy) {
    const double middle = low + (high - low) / 2;
    (eigenvalues_below(t, middle) == t.n ? high : low) = middle;
  }
  return high;
}

}  // namespace osc
