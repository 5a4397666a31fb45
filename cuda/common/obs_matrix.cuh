// Optimal Brain Surgeon on the device: the matrix that all rows share, and one row a block of threads whose weights are settled
// one after the other (native/kernels/obs_rows.h). Float64.
#pragma once
#include <algorithm>
#include <vector>

#include "common/blas.h"
#include "common/finite.cuh"
#include "common/flat.cuh"
#include "common/strided.cuh"
#include "common/symmetric.cuh"
#include "core/context.h"
#include "core/tensor.h"

namespace osc {
namespace {

constexpr int kObsThreads = 128;

template <class H>
struct LoadDamped {
  const H* gram;
  int64_t n;
  double damping;
  double* matrix;
  uint8_t* dead;
  __device__ void operator()(int64_t at) const {
    const int64_t i = at / n, j = at % n;
    const bool row_dead = gram[i * n + i] == H(0), gone = row_dead || gram[j * n + j] == H(0);
    const double value = gone ? (i == j ? 1.0 : 0.0) : static_cast<double>(gram[at]);
    matrix[at] = i == j ? value + damping : value;
    if (i == j) dead[i] = row_dead;
  }
};

struct LowerHalf {
  const double* from;
  int64_t n;
  double* to;
  __device__ void operator()(int64_t at) const { to[at] = at % n <= at / n ? from[at] : 0.0; }
};

// The damped matrix of a layer: symmetric, unit rows and columns where an input is dead.
class ObsMatrix {
 public:
  Status load(const Tensor& gram, double damping) {
    n_ = gram.shape[0];
    matrix_ = DeviceBuffer<double>(n_ * n_);
    dead_ = DeviceBuffer<uint8_t>(n_);
    if (!matrix_) return matrix_.status();
    if (!dead_) return dead_.status();
    if (n_ == 0) return ok();
    return gram.dtype == OSC_FLOAT64 ? load_as<double>(gram, damping) : load_as<float>(gram, damping);
  }

  int64_t size() const { return n_; }
  const double* data() const { return matrix_.get(); }
  const uint8_t* dead() const { return dead_.get(); }

  // Replaces the matrix by its inverse, both halves.
  Status invert() {
    if (n_ == 0) return ok();
    DeviceBuffer<double> triangle(n_ * n_);
    DeviceBuffer<int32_t> info(1);
    if (!triangle) return triangle.status();
    if (!info) return info.status();
    int32_t failed;
    OSC_TRY(potrf(n_, matrix_.get(), n_, info.get()));
    OSC_TRY(read_value(info.get(), &failed));
    if (failed != 0) {
      return fail(OSC_NOT_POSITIVE_DEFINITE, failed - 1,
                  "the damped matrix is not positive definite: the pivot of column %lld failed", static_cast<long long>(failed - 1));
    }
    OSC_TRY(launch_each(LowerHalf{matrix_.get(), n_, triangle.get()}, n_ * n_));
    OSC_TRY(trtri(n_, triangle.get(), n_));
    OSC_TRY(syrk(Transpose::kYes, n_, n_, 1, triangle.get(), n_, 0, matrix_.get(), n_));
    return mirror_lower(matrix_.get(), n_, 1);
  }

 private:
  template <class H>
  Status load_as(const Tensor& gram, double damping) {
    DeviceBuffer<H> copy;
    const H* rows;
    OSC_TRY(contiguous_rows(gram, copy, &rows));
    int64_t bad;
    OSC_TRY(first_non_finite(rows, n_, n_, n_, &bad));
    if (bad >= 0) {
      return fail(OSC_NON_FINITE, bad, "the matrix has NaN or Inf at row %lld, column %lld", static_cast<long long>(bad / n_),
                  static_cast<long long>(bad % n_));
    }
    return launch_each(LoadDamped<H>{rows, n_, damping, matrix_.get(), dead_.get()}, n_ * n_);
  }

  int64_t n_ = 0;
  DeviceBuffer<double> matrix_;
  DeviceBuffer<uint8_t> dead_;
};

// A row on its way. `inverse` is that of the matrix without the settled weights, both halves.
struct ObsRow {
  int64_t n;
  double *inverse, *column, *weight;
  uint8_t* active;

  // All of these are called by all threads of a block.
  __device__ void start(const double* all, const uint8_t* dead, const float* source) const {
    for (int64_t at = threadIdx.x; at < n * n; at += kObsThreads) inverse[at] = all[at];
    for (int64_t j = threadIdx.x; j < n; j += kObsThreads) {
      weight[j] = dead[j] ? 0.0 : static_cast<double>(source[j]);
      active[j] = 1;
    }
    __syncthreads();
  }

  // What it costs to make weight j the value q.
  __device__ double cost(int64_t j, double q) const {
    const double gap = weight[j] - q;
    return gap * gap / (2 * inverse[j * n + j]);
  }

  // Makes weight p the value q for good. False when the matrix has lost its definiteness.
  __device__ bool settle(int64_t p, double q) const {
    const double pivot = inverse[p * n + p], step = (weight[p] - q) / pivot;
    if (!(pivot > 0)) return false;
    for (int64_t j = threadIdx.x; j < n; j += kObsThreads) column[j] = inverse[p * n + j];
    __syncthreads();
    for (int64_t at = threadIdx.x; at < n * n; at += kObsThreads) {
      const int64_t i = at / n, j = at % n;
      // What rounding leaves of the settled row and column would move settled weights.
      inverse[at] = i == p || j == p ? 0.0 : inverse[at] - column[i] * column[j] / pivot;
    }
    for (int64_t j = threadIdx.x; j < n; j += kObsThreads) {
      weight[j] = j == p ? q : weight[j] - step * column[j];
      if (j == p) active[j] = 0;
    }
    __syncthreads();
    return true;
  }
};

// A weight that may go next: weights off their grid before all others, then the cheapest, then the first.
struct ObsCandidate {
  double cost;
  int64_t index;  // -1: none
  bool outlier;
};

__device__ inline bool goes_before(const ObsCandidate& a, const ObsCandidate& b) {
  if (a.index < 0 || b.index < 0) return a.index >= 0;
  if (a.outlier != b.outlier) return a.outlier;
  return a.cost < b.cost || (a.cost == b.cost && a.index < b.index);
}

// The first of the candidates of all threads.
__device__ inline ObsCandidate first_of_block(const ObsCandidate& mine) {
  OSC_SHARED(double, costs, [kObsThreads]);
  OSC_SHARED(long long, indices, [kObsThreads]);
  OSC_SHARED(int, outliers, [kObsThreads]);
  const int thread = static_cast<int>(threadIdx.x);
  const auto take = [&](int t) { return ObsCandidate{costs[t], indices[t], outliers[t] != 0}; };
  const auto put = [&](const ObsCandidate& c) {
    costs[thread] = c.cost;
    indices[thread] = c.index;
    outliers[thread] = c.outlier;
  };
  put(mine);
  __syncthreads();
  for (int half = kObsThreads / 2; half > 0; half /= 2) {
    if (thread < half && goes_before(take(thread + half), take(thread))) put(take(thread + half));
    __syncthreads();
  }
  const ObsCandidate first = take(0);
  __syncthreads();  // the next call writes again
  return first;
}

// Memory of rows in flight.
class ObsRows {
 public:
  explicit ObsRows(int64_t rows, int64_t n)
      : n_(n), count_(std::max<int64_t>(1, std::min(rows, kMostNumbers / std::max<int64_t>(1, n * n)))) {}

  Status allocate() {
    numbers_ = DeviceBuffer<double>(count_ * (n_ * n_ + 2 * n_));
    active_ = DeviceBuffer<uint8_t>(count_ * n_);
    return numbers_ ? active_.status() : numbers_.status();
  }
  int64_t count() const { return count_; }
  double* numbers() const { return numbers_.get(); }
  uint8_t* active() const { return active_.get(); }

 private:
  static constexpr int64_t kMostNumbers = int64_t{1} << 26;
  int64_t n_, count_;
  DeviceBuffer<double> numbers_;
  DeviceBuffer<uint8_t> active_;
};

// The row of this block.
__device__ inline ObsRow row_of_block(double* numbers, uint8_t* active, int64_t n) {
  double* inverse = numbers + blockIdx.x * (n * n + 2 * n);
  return {n, inverse, inverse + n * n, inverse + n * n + n, active + blockIdx.x * n};
}

inline Status lost_definiteness() { return fail(OSC_NOT_POSITIVE_DEFINITE, 0, "the inverse lost its definiteness: use more damping"); }

}  // namespace
}  // namespace osc
