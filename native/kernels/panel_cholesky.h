// Lower Cholesky factor in panels, cut into square tiles that threads take in a fixed order.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "../core/memory.h"
#include "../core/parallel.h"
#include "../simd/cholesky_panel.h"

namespace osc {

// A = L L^T of a symmetric A[n, n]. Panel p has rows [p * kRows, (p + 1) * kRows) of L and only the columns up to its last
// row; the rows and columns that fill the last panel are those of the identity.
//
// Tiles are computed left-looking, column after column of tiles, each by one thread: it waits for the tiles that it reads,
// which all started before it. A thread that is done with a column goes on with the next one while the others finish
// theirs. Every element is the same chain of operations whoever computes it, so threads change no bit.
// Workspace: n^2 / 2 numbers.
template <class Real>
class PanelCholesky {
 public:
  static constexpr int64_t kRows = kCholeskyRows<Real>;
  static constexpr int64_t kNone = -1, kCancelled = -2;

  explicit PanelCholesky(int64_t n)
      : n_(n),
        panels_((n + kRows - 1) / kRows),
        side_(panels_of_tile(panels_)),
        tiles_((panels_ + side_ - 1) / side_),
        storage_(offset(panels_)),
        inverse_(panels_ * kRows),
        done_(new std::atomic<int32_t>[static_cast<size_t>(tiles_ * tiles_)]()) {}

  explicit operator bool() const { return storage_ && inverse_; }
  int64_t bytes() const { return storage_.bytes() + inverse_.bytes(); }

  const Real* inverse_diagonal() const { return inverse_.get(); }  // 1 / L_jj
  Real diagonal(int64_t j) const { return at(j / kRows, j)[j % kRows]; }

  // load(i, from, to, row) sets row[k - from] to A_ik for k in [from, to), k <= i; store(i, from, to, row) reads L_ik there,
  // when inverse_diagonal is set for these k. Each entry is loaded and stored once, rows of different tiles at the same
  // time. Returns kNone, kCancelled, or the row of the first pivot that is not positive.
  template <class Load, class Store>
  int64_t factor(const Context& context, Load&& load, Store&& store) {
    std::vector<std::pair<int64_t, int64_t>> order;  // column, row
    for (int64_t j = 0; j < tiles_; ++j) {
      for (int64_t i = j; i < tiles_; ++i) order.emplace_back(j, i);
    }
    std::atomic<int64_t> failed{INT64_MAX}, count{0};
    const bool all = parallel_for(static_cast<int64_t>(order.size()), context, [&](int64_t index) {
      const auto [j, i] = order[static_cast<size_t>(index)];
      if (failed.load(std::memory_order_relaxed) == INT64_MAX) {
        const int64_t pivot = tile(i, j, failed, load);
        if (pivot >= 0) failed.store(pivot);
        if (failed.load(std::memory_order_relaxed) == INT64_MAX) store_tile(i, j, store);
      }
      finish(i, j);
      report(context, static_cast<double>(count.fetch_add(1) + 1), static_cast<double>(order.size()));
    });
    if (failed.load() != INT64_MAX) return failed.load();
    return all ? kNone : kCancelled;
  }

 private:
  // As large as the cache likes, but several tiles a side, so that threads have something to share.
  static int64_t panels_of_tile(int64_t panels) { return std::clamp<int64_t>(panels / 8, 1, 8); }
  static int64_t offset(int64_t panel) { return kRows * kRows * panel * (panel + 1) / 2; }

  // Column k of a panel: kRows numbers.
  Real* at(int64_t panel, int64_t k) const { return storage_.get() + offset(panel) + k * kRows; }
  int64_t first(int64_t tile) const { return tile * side_ * kRows; }  // row or column
  template <class F>
  void each_panel(int64_t tile, F&& f) const {
    for (int64_t p = tile * side_; p < std::min(panels_, (tile + 1) * side_); ++p) f(p);
  }

  std::atomic<int32_t>& flag(int64_t i, int64_t j) const { return done_[static_cast<size_t>(i * tiles_ + j)]; }
  void finish(int64_t i, int64_t j) {
    flag(i, j).store(1, std::memory_order_release);
    flag(i, j).notify_all();
  }
  void wait(int64_t i, int64_t j) const { flag(i, j).wait(0, std::memory_order_acquire); }

  // Columns that are copied at a time, between the panels and rows in the first-level cache.
  static constexpr int64_t kCopied = 4 * kRows;
  template <class F>
  void each_cut(int64_t i, int64_t j, F&& f) const {  // f(panel, from, to, to or the end of the matrix)
    each_panel(i, [&](int64_t p) {
      const int64_t end = std::min((p + 1) * kRows, first(j + 1));
      for (int64_t from = first(j); from < end; from += kCopied) {
        const int64_t to = std::min(end, from + kCopied);
        f(p, from, to, std::min(n_, to));
      }
    });
  }

  template <class Load>
  void load_tile(int64_t i, int64_t j, Load& load) {
    alignas(64) Real rows[kRows * kCopied] = {};
    each_cut(i, j, [&](int64_t p, int64_t from, int64_t to, int64_t end) {
      for (int64_t r = 0; r < kRows; ++r) {
        const int64_t row = p * kRows + r;
        if (row < n_ && from <= row) load(row, from, std::min(end, row + 1), rows + r * kCopied);
        if (row >= n_) std::fill_n(rows + r * kCopied, kCopied, Real(0));
        if (row >= n_ && from <= row && row < to) rows[r * kCopied + row - from] = 1;
      }
      cholesky_panels<Real>().rows_to_columns(rows, kCopied, to - from, at(p, from));
    });
  }

  template <class Store>
  void store_tile(int64_t i, int64_t j, Store& store) const {
    alignas(64) Real rows[kRows * kCopied];
    each_cut(i, j, [&](int64_t p, int64_t from, int64_t to, int64_t end) {
      cholesky_panels<Real>().columns_to_rows(at(p, from), to - from, rows, kCopied);
      for (int64_t r = 0; r < kRows && p * kRows + r < n_; ++r) {
        const int64_t row = p * kRows + r;
        if (from <= row) store(row, from, std::min(end, row + 1), rows + r * kCopied);
      }
    });
  }

  // Returns -1 or the row whose pivot failed.
  template <class Load>
  int64_t tile(int64_t i, int64_t j, const std::atomic<int64_t>& failed, Load& load) {
    const CholeskyPanels<Real>& run = cholesky_panels<Real>();
    load_tile(i, j, load);
    for (int64_t k = 0; k < j; ++k) {
      wait(i, k);
      wait(j, k);
      if (failed.load(std::memory_order_relaxed) != INT64_MAX) return -1;
      each_panel(i, [&](int64_t p) {
        each_panel(j, [&](int64_t q) {
          if (q <= p) run.update(at(q, 0), at(p, 0), q * kRows, first(k), first(k + 1));
        });
      });
    }
    if (i != j) wait(j, j);
    if (failed.load(std::memory_order_relaxed) != INT64_MAX) return -1;
    int64_t bad = -1;
    each_panel(j, [&](int64_t q) {
      const int64_t base = q * kRows;
      each_panel(i, [&](int64_t p) {
        if (p < q || bad >= 0) return;
        if (base > first(j)) run.update(at(q, 0), at(p, 0), base, first(j), base);
        if (p > q) return run.solve(at(q, 0), inverse_.get() + base, at(p, 0), base);
        const int64_t column = run.factor(at(p, 0), inverse_.get() + base, base);
        if (column >= 0) bad = base + column;
      });
    });
    return bad;
  }

  int64_t n_, panels_, side_, tiles_;
  Buffer<Real> storage_, inverse_;
  std::unique_ptr<std::atomic<int32_t>[]> done_;
};

}  // namespace osc
