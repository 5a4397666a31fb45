// How far a computed matrix function is from its equation, from the matrices themselves: the Frobenius norm of a residual R
// that is only known through its products R Z.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "../core/philox.h"
#include "batch.h"

namespace osc {

// Z[n, count]: up to kProbes columns the identity, so that the norm is exact; beyond that kProbes columns of fixed random
// signs, for which the mean of |R z|^2 is |R|_F^2 with a standard error of at most sqrt(2 / kProbes) of it.
template <class Real>
class Probes {
 public:
  static constexpr int64_t kProbes = 32;

  explicit Probes(int64_t n) : n_(n), count_(n <= kProbes ? n : kProbes), signs_(workspace<Real>(n * count_)) {
    for (int64_t i = 0; i < n * count_; i += kSignsPerBlock) {
      const RandomBlock block = random_block(RandomKind::kRademacher, RandomKey{0, 0, 0}, static_cast<uint64_t>(i / kSignsPerBlock));
      for (int64_t b = 0; b < kSignsPerBlock && i + b < n * count_; ++b) {
        const bool diagonal = (i + b) / count_ == (i + b) % count_;
        signs_[i + b] = n <= kProbes ? Real(diagonal) : Real(random_sign(block.word[b / 32], static_cast<uint32_t>(b % 32)));
      }
    }
  }

  int64_t count() const { return count_; }
  const Real* get() const { return signs_.get(); }

  // |R|_F for rz = R Z, or for rz = (R + I) Z when `less_identity`.
  double norm(const Real* rz, bool less_identity) const {
    double sum = 0;
    for (int64_t i = 0; i < n_ * count_; ++i) {
      const double r = static_cast<double>(rz[i]) - (less_identity ? static_cast<double>(signs_[i]) : 0.0);
      sum += r * r;
    }
    return std::sqrt(n_ <= kProbes ? sum : sum / static_cast<double>(count_));
  }

 private:
  int64_t n_, count_;
  Buffer<Real> signs_;
};

// The largest, NaN when there is one.
inline double worst_of(const std::vector<double>& residuals) {
  double worst = 0;
  for (const double r : residuals) {
    if (std::isnan(r)) return r;
    worst = std::max(worst, r);
  }
  return worst;
}

}  // namespace osc
