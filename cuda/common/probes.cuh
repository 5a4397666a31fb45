// How far a computed matrix function is from its equation (native/dense/residual.h), for all matrices of a batch at once: the
// Frobenius norm of a residual R that is only known through its products R Z.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "common/blas.h"
#include "common/gpu.cuh"
#include "common/memory.h"
#include "common/reduce.cuh"
#include "core/philox.h"

namespace osc {
namespace {

constexpr int64_t kProbes = 32;

// Z [n, count]: the identity, or fixed random signs. A thread a block of signs.
template <class Real>
OSC_GLOBAL draw_probes(int64_t n, int64_t count, bool identity, Real* z) {
  const int64_t block = global_thread(), start = block * kSignsPerBlock;
  if (start >= n * count) return;
  const RandomBlock signs = random_block(RandomKind::kRademacher, RandomKey{0, 0, 0}, static_cast<uint64_t>(block));
  for (int64_t b = 0; b < kSignsPerBlock && start + b < n * count; ++b) {
    const int64_t i = start + b;
    z[i] = identity ? Real(i / count == i % count) : Real(random_sign(signs.word[b / 32], static_cast<uint32_t>(b % 32)));
  }
}

// sums[item] = the sum of (rz - z)^2, or of rz^2 when z is null. A block a matrix.
template <class Real>
OSC_GLOBAL sum_squares(const Real* rz, const Real* z, int64_t size, double* sums) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < size; i += blockDim.x) {
    const double r = static_cast<double>(rz[blockIdx.x * size + i]) - (z ? static_cast<double>(z[i]) : 0.0);
    sum += r * r;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// n > 0. Check status() first.
template <class Real>
class Probes {
 public:
  explicit Probes(int64_t n) : n_(n), count_(std::min(n, kProbes)), z_(n * count_) {
    status_ = z_.status();
    if (status_.code != OSC_OK) return;
    status_ = launch(draw_probes<Real>, dim3(static_cast<unsigned>(blocks_for(n * count_, kSignsPerBlock * 128))), dim3(128), 0, n,
                     count_, n <= kProbes, z_.get());
  }

  const Status& status() const { return status_; }
  int64_t count() const { return count_; }
  int64_t size() const { return n_ * count_; }  // of R Z
  const Real* get() const { return z_.get(); }

  // norms[item] = |R|_F for rz [batch, n, count] = R Z, or for rz = (R + I) Z when `less_identity`. Waits.
  Status norms(const Real* rz, int64_t batch, bool less_identity, double* norms) const {
    DeviceBuffer<double> sums(batch);
    if (!sums) return sums.status();
    OSC_TRY(launch(sum_squares<Real>, dim3(static_cast<unsigned>(batch)), dim3(256), 0, rz, less_identity ? z_.get() : nullptr,
                   size(), sums.get()));
    OSC_TRY(copy_to_host(norms, sums.get(), sums.bytes()));
    for (int64_t item = 0; item < batch; ++item) {
      norms[item] = std::sqrt(n_ <= kProbes ? norms[item] : norms[item] / static_cast<double>(count_));
    }
    return ok();
  }

 private:
  int64_t n_, count_;
  DeviceBuffer<Real> z_;
  Status status_;
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

}  // namespace
}  // namespace osc
