// Optimal Brain Surgeon on rows that share one matrix: what obc_prune_rows, obq_quantize_rows and obs_refit_rows have in
// common. This work is based on: B. Hassibi, D. Stork, "Second Order Derivatives for Network Pruning: Optimal Brain Surgeon",
// 1993, and E. Frantar, S. Singh, D. Alistarh, "Optimal Brain Compression", 2022. Float64 throughout: the reference methods.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "../core/blas.h"
#include "../core/memory.h"
#include "../core/status.h"
#include "../core/tensor.h"

namespace osc {

// The damped matrix of a layer: symmetric, float64, unit rows and columns where an input is dead.
class ObsMatrix {
 public:
  // gram [n, n] float32 or float64, symmetric, rows contiguous.
  Status load(const Tensor& gram, double damping) {
    n_ = gram.shape[0];
    dead_.resize(static_cast<size_t>(n_));
    matrix_ = Buffer<double>(n_ * n_);
    if (!matrix_) return fail(OSC_OUT_OF_MEMORY, matrix_.bytes(), "no memory for the matrix");
    for (int64_t i = 0; i < n_; ++i) dead_[static_cast<size_t>(i)] = value(gram, i, i) == 0;
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = 0; j < n_; ++j) {
        const double h = value(gram, i, j);
        if (!std::isfinite(h)) return fail(OSC_NON_FINITE, i * n_ + j, "the matrix has NaN or Inf at row %lld, column %lld", static_cast<long long>(i), static_cast<long long>(j));
        matrix_[i * n_ + j] = dead(i) || dead(j) ? 0.0 : h;
      }
      matrix_[i * n_ + i] = (dead(i) ? 1.0 : matrix_[i * n_ + i]) + damping;
    }
    return ok();
  }

  int64_t size() const { return n_; }
  bool dead(int64_t j) const { return dead_[static_cast<size_t>(j)] != 0; }
  double at(int64_t i, int64_t j) const { return matrix_[i * n_ + j]; }

  // Replaces the matrix by its inverse, both halves.
  Status invert() {
    if (n_ == 0) return ok();
    const int info = potrf(n_, matrix_.get(), n_);
    if (info != 0) {
      return fail(OSC_NOT_POSITIVE_DEFINITE, info - 1, "the damped matrix is not positive definite: the pivot of column %lld failed", static_cast<long long>(info - 1));
    }
    potri(n_, matrix_.get(), n_);
    for (int64_t i = 0; i < n_; ++i) {
      for (int64_t j = i + 1; j < n_; ++j) matrix_[i * n_ + j] = matrix_[j * n_ + i];
    }
    return ok();
  }
  const double* data() const { return matrix_.get(); }

 private:
  static double value(const Tensor& gram, int64_t i, int64_t j) {
    const int64_t at = i * gram.strides[0] + j * gram.strides[1];
    return gram.dtype == OSC_FLOAT64 ? osc::data<double>(gram)[at] : static_cast<double>(osc::data<float>(gram)[at]);
  }

  int64_t n_ = 0;
  Buffer<double> matrix_;
  std::vector<uint8_t> dead_;
};

// One row whose weights are settled one after the other. `inverse` is that of the matrix without the settled ones.
class ObsRow {
 public:
  explicit ObsRow(const ObsMatrix& inverse)
      : inverse_of_all_(inverse), n_(inverse.size()), inverse_(n_ * n_), column_(static_cast<size_t>(n_)), weight_(static_cast<size_t>(n_)), active_(static_cast<size_t>(n_)) {}

  bool allocated() const { return static_cast<bool>(inverse_); }

  void start(const float* weight) {
    std::copy_n(inverse_of_all_.data(), n_ * n_, inverse_.get());
    for (int64_t j = 0; j < n_; ++j) {
      weight_[static_cast<size_t>(j)] = inverse_of_all_.dead(j) ? 0.0 : static_cast<double>(weight[j]);
      active_[static_cast<size_t>(j)] = 1;
    }
  }

  bool active(int64_t j) const { return active_[static_cast<size_t>(j)] != 0; }
  double weight(int64_t j) const { return weight_[static_cast<size_t>(j)]; }
  // What it costs to make weight j the value q: 1/2 d H d^T with the best answer of the active weights.
  double cost(int64_t j, double q) const {
    const double gap = weight(j) - q;
    return gap * gap / (2 * inverse_[j * n_ + j]);
  }

  // Makes weight p the value q for good. False when the matrix has lost its definiteness.
  bool settle(int64_t p, double q) {
    const double pivot = inverse_[p * n_ + p];
    if (!(pivot > 0)) return false;
    for (int64_t j = 0; j < n_; ++j) column_[static_cast<size_t>(j)] = j <= p ? inverse_[p * n_ + j] : inverse_[j * n_ + p];
    const double step = (weight(p) - q) / pivot;
    for (int64_t j = 0; j < n_; ++j) weight_[static_cast<size_t>(j)] -= step * column_[static_cast<size_t>(j)];
    weight_[static_cast<size_t>(p)] = q;
    active_[static_cast<size_t>(p)] = 0;
    syr(n_, -1.0 / pivot, column_.data(), inverse_.get(), n_);
    // What rounding left of the settled row and column would move settled weights.
    for (int64_t j = 0; j < n_; ++j) (j <= p ? inverse_[p * n_ + j] : inverse_[j * n_ + p]) = 0;
    return true;
  }

 private:
  const ObsMatrix& inverse_of_all_;
  int64_t n_;
  Buffer<double> inverse_;  // lower half
  std::vector<double> column_, weight_;
  std::vector<uint8_t> active_;
};

}  // namespace osc
