// The ends of a symmetric matrix's spectrum, estimated by a few Lanczos steps.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "../core/philox.h"
#include "sturm.h"

namespace osc {

struct SpectrumBounds {
  double low, high;  // Ritz values: the spectrum reaches at least so far on both sides
};

// At most `steps` steps from a fixed random vector, with full reorthogonalization. high is within a few percent of the largest
// eigenvalue for 16 steps or more; low may be far above the smallest one. multiply(v, w): w = A v, both n numbers of the host.
template <class Real, class Multiply>
SpectrumBounds spectrum_bounds(int64_t n, int64_t steps, Multiply&& multiply) {
  steps = std::min(steps, n);
  std::vector<double> d, e;
  std::vector<Real> vectors(static_cast<size_t>(n * (steps + 1)));
  Real* basis = vectors.data();
  for (int64_t i = 0; i < n; i += kSignsPerBlock) {
    const RandomBlock block = random_block(RandomKind::kRademacher, RandomKey{1, 0, 0}, static_cast<uint64_t>(i / kSignsPerBlock));
    for (int64_t b = 0; b < kSignsPerBlock && i + b < n; ++b) {
      basis[i + b] = static_cast<Real>(random_sign(block.word[b / 32], static_cast<uint32_t>(b % 32)) / std::sqrt(static_cast<double>(n)));
    }
  }
  for (int64_t step = 0; step < steps; ++step) {
    const Real* v = basis + step * n;
    Real* w = basis + (step + 1) * n;
    multiply(v, w);
    double along = 0, length = 0;
    for (int round = 0; round < 2; ++round) {
      for (int64_t k = step; k >= 0; --k) {
        const Real* u = basis + k * n;
        double dot = 0;
        for (int64_t i = 0; i < n; ++i) dot += static_cast<double>(u[i]) * static_cast<double>(w[i]);
        for (int64_t i = 0; i < n; ++i) w[i] -= static_cast<Real>(dot) * u[i];
        if (k == step) along += dot;
      }
    }
    for (int64_t i = 0; i < n; ++i) length += static_cast<double>(w[i]) * static_cast<double>(w[i]);
    length = std::sqrt(length);
    d.push_back(along);
    e.push_back(length);
    if (!(length > 1e-6 * std::fabs(along))) break;  // an invariant subspace
    for (int64_t i = 0; i < n; ++i) w[i] = static_cast<Real>(static_cast<double>(w[i]) / length);
  }
  const auto count = static_cast<int64_t>(d.size());
  const double high = largest_eigenvalue({d.data(), e.data(), count});
  for (double& x : d) x = -x;
  return {-largest_eigenvalue({d.data(), e.data(), count}), high};
}

}  // namespace osc
