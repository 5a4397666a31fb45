// The inverse of A = L L^T in the panels of panel_cholesky.h.
#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "../core/parallel.h"
#include "../dense/batch.h"
#include "../simd/cholesky_panel.h"

namespace osc {

// One more step of the same factorization: the rows that follow L in the factor of [[A, I], [I, 0]] are Y = L^-T, upper
// triangular, and what is left of the zero block is -Y Y^T = -A^-1. Rows of Y do not depend on one another.
//
// Panel p has rows [p * kRows, (p + 1) * kRows) of Y: n columns of Y, then those of -A^-1 up to its last row. Columns of Y
// before its first row are zero, and never touched. Rows and columns that fill the last panel are those of the identity.
// Workspace: 2 n^2 numbers.
template <class Real>
class PanelInverse {
 public:
  static constexpr int64_t kRows = kCholeskyRows<Real>;

  // l[n, ldl], its lower half; the diagonal has no zero.
  PanelInverse(const Real* l, int64_t ldl, int64_t n)
      : l_(l),
        ldl_(ldl),
        n_(n),
        panels_((n + kRows - 1) / kRows),
        columns_(panels_ * kRows),
        side_(std::clamp<int64_t>(panels_ / 8, 1, 8)),
        tiles_((panels_ + side_ - 1) / side_),
        factor_(workspace<Real>(kRows * kRows * panels_ * (panels_ + 1) / 2)),
        diagonal_(workspace<Real>(columns_)),
        rows_(workspace<Real>(offset(panels_))) {}

  // store(i, from, to, row) gets -A^-1_ik for k in [from, to), k <= i. Returns false when cancelled.
  template <class Store>
  bool run(const Context& context, Store&& store) {
    std::vector<std::pair<int64_t, int64_t>> pairs;  // row, column of tiles
    for (int64_t i = 0; i < tiles_; ++i) {
      for (int64_t j = 0; j <= i; ++j) pairs.emplace_back(i, j);
    }
    return parallel_for(panels_, context, [&](int64_t p) { load(p); }) &&
           parallel_for(tiles_, context, [&](int64_t i) { solve_rows(i, context); }) &&
           parallel_for(static_cast<int64_t>(pairs.size()), context, [&](int64_t pair) {
             const auto [i, j] = pairs[static_cast<size_t>(pair)];
             multiply(i, j);
             store_tile(i, j, store);
           }) &&
           !cancelled(context);
  }

 private:
  int64_t offset(int64_t panel) const { return kRows * (panel * columns_ + kRows * panel * (panel + 1) / 2); }
  Real* factor(int64_t panel) const { return factor_.get() + kRows * kRows * panel * (panel + 1) / 2; }
  Real* row(int64_t panel) const { return rows_.get() + offset(panel); }
  int64_t first(int64_t tile) const { return std::min(panels_, tile * side_); }  // panel

  // L's panel p, and Y and the zero block as they are before.
  void load(int64_t p) {
    constexpr int64_t kAtOnce = 4 * kRows;
    alignas(64) Real rows[kRows * kAtOnce];
    for (int64_t from = 0; from < (p + 1) * kRows; from += kAtOnce) {
      const int64_t to = std::min(from + kAtOnce, (p + 1) * kRows);
      for (int64_t r = 0; r < kRows; ++r) {
        const int64_t i = p * kRows + r, end = i < n_ ? std::clamp(i + 1, from, to) : from;
        if (end > from) std::copy(l_ + i * ldl_ + from, l_ + i * ldl_ + end, rows + r * kAtOnce);
        std::fill(rows + r * kAtOnce + (end - from), rows + (r + 1) * kAtOnce, Real(0));
        if (i >= n_ && i >= from && i < to) rows[r * kAtOnce + i - from] = 1;
        if (i >= from && i < to) diagonal_[i] = Real(1) / rows[r * kAtOnce + i - from];
      }
      cholesky_panels<Real>().rows_to_columns(rows, kAtOnce, to - from, factor(p) + from * kRows);
    }
    std::fill(row(p) + p * kRows * kRows, row(p + 1), Real(0));
    for (int64_t r = 0; r < kRows; ++r) row(p)[(p * kRows + r) * kRows + r] = 1;
  }

  // Y = L^-T in the tile row i, column after column.
  void solve_rows(int64_t i, const Context& context) {
    const CholeskyPanels<Real>& simd = cholesky_panels<Real>();
    for (int64_t j = i; j < tiles_ && !cancelled(context); ++j) {
      for (int64_t k = i; k < j; ++k) update(i, j, k);
      for (int64_t q = first(j); q < first(j + 1); ++q) {
        for (int64_t p = first(i); p < std::min(first(i + 1), q + 1); ++p) {
          const int64_t from = std::max(p, first(j)) * kRows;
          if (from < q * kRows) simd.update(factor(q), row(p), q * kRows, from, q * kRows);
          simd.solve(factor(q), diagonal_.get() + q * kRows, row(p), q * kRows);
        }
      }
    }
  }

  // Tile (i, j) of Y minus the product of its columns of tile k with those of L.
  void update(int64_t i, int64_t j, int64_t k) {
    for (int64_t p = first(i); p < first(i + 1); ++p) {
      const int64_t from = std::max(p, first(k)) * kRows, to = first(k + 1) * kRows;
      for (int64_t q = first(j); q < first(j + 1); ++q) cholesky_panels<Real>().update(factor(q), row(p), q * kRows, from, to);
    }
  }

  // Tile (i, j) of -Y Y^T.
  void multiply(int64_t i, int64_t j) {
    for (int64_t k = i; k < tiles_; ++k) {
      for (int64_t p = first(i); p < first(i + 1); ++p) {
        const int64_t from = std::max(p, first(k)) * kRows, to = first(k + 1) * kRows;
        for (int64_t q = first(j); q < std::min(first(j + 1), p + 1); ++q) {
          cholesky_panels<Real>().update(row(q), row(p), columns_ + q * kRows, from, to);
        }
      }
    }
  }

  template <class Store>
  void store_tile(int64_t i, int64_t j, Store& store) const {
    alignas(64) Real rows[kRows * kRows];
    for (int64_t p = first(i); p < first(i + 1); ++p) {
      for (int64_t q = first(j); q < std::min(first(j + 1), p + 1); ++q) {
        cholesky_panels<Real>().columns_to_rows(row(p) + (columns_ + q * kRows) * kRows, kRows, rows, kRows);
        for (int64_t r = 0; r < kRows && p * kRows + r < n_; ++r) {
          const int64_t at = p * kRows + r;
          store(at, q * kRows, std::min({n_, (q + 1) * kRows, at + 1}), rows + r * kRows);
        }
      }
    }
  }

  const Real* l_;
  int64_t ldl_, n_, panels_, columns_, side_, tiles_;
  Buffer<Real> factor_, diagonal_, rows_;
};

}  // namespace osc
