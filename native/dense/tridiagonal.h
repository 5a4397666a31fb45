// A = Q T Q^T with T tridiagonal, and what is done with it: functions of A and eigenvectors of A from those of T.
#pragma once
#include <algorithm>
#include <vector>

#include "../core/blas.h"
#include "../core/parallel.h"
#include "batch.h"
#include "symmetric.h"

namespace osc {

// Q is a product of n - 1 Householder reflections, kept as LAPACK leaves them: row i of a[n, ld] holds the vector of
// reflection i, which is 0 up to column i, 1 in column i + 1 and stored from column i + 2 on. They are used in blocks
// H_1 .. H_k = I - V S V^T (Schreiber and Van Loan, 1989).
template <class Real>
class Tridiagonal {
 public:
  // Reduces the symmetric a[n, ld], which is replaced and must stay. One library call: it cannot be stopped.
  Tridiagonal(Real* a, int64_t n, int64_t ld) : a_(a), n_(n), ld_(ld), d_(n), e_(n), tau_(n) {
    if (n == 0) return;
    const auto work = workspace<Real>(64 * n);
    sytrd(n, a, ld, d_.data(), e_.data(), tau_.data(), work.get());
  }

  std::vector<Real>& diagonal() { return d_; }
  std::vector<Real>& beside() { return e_; }  // n - 1 numbers and one more

  // m[n, ldm] = Q m Q^T for a symmetric m of which the lower half is given; both halves are set. 2 n^3 flops. Returns false
  // when cancelled.
  bool rotate(Real* m, int64_t ldm, const Context& context) const {
    Blocks blocks(*this);
    const auto w = workspace<Real>(n_ * blocks.width), z = workspace<Real>(n_ * blocks.width);
    const auto left = workspace<Real>(n_ * 2 * blocks.width), right = workspace<Real>(n_ * 2 * blocks.width);
    for (int64_t first = blocks.last(); first >= 0; first -= blocks.width) {
      blocks.take(first);
      if (!rotate_block(blocks, m, ldm, w.get(), z.get(), left.get(), right.get(), context)) return false;
    }
    return mirror_lower(m, ldm, n_, context);
  }

  // rows[count, ldr] = rows Q^T: eigenvectors of T, one a row, become those of A. 2 n^2 count flops. Returns false when cancelled.
  bool rotate_rows(Real* rows, int64_t ldr, int64_t count, const Context& context) const {
    Blocks blocks(*this);
    for (int64_t first = blocks.last(); first >= 0; first -= blocks.width) {
      blocks.take(first);
      const int64_t k = blocks.count, m = n_ - blocks.row;
      const bool done = parallel_for((count + kTile - 1) / kTile, context, [&](int64_t tile) {
        const int64_t height = std::min(kTile, count - tile * kTile);
        Real* target = rows + tile * kTile * ldr + blocks.row;
        std::vector<Real> product(static_cast<size_t>(2 * height * k));
        Real *u = product.data(), *us = u + height * k;
        gemm(CblasNoTrans, CblasNoTrans, height, k, m, Real(1), target, ldr, blocks.v.get(), k, Real(0), u, k);
        gemm(CblasNoTrans, CblasTrans, height, k, k, Real(1), u, k, blocks.s.data(), k, Real(0), us, k);
        gemm(CblasNoTrans, CblasTrans, height, m, k, Real(-1), us, k, blocks.v.get(), k, Real(1), target, ldr);
      });
      if (!done) return false;
    }
    return true;
  }

 private:
  static constexpr int64_t kTile = 256;  // rows of a tile

  // One block of reflections at a time: v[n - row, count] from row `row` on, s[count, count] upper triangular.
  struct Blocks {
    explicit Blocks(const Tridiagonal& of)
        : q(of), width(of.n_ < 512 ? 32 : 64), v(workspace<Real>(of.n_ * width)), s(static_cast<size_t>(width * width)) {}

    int64_t last() const { return q.n_ < 2 ? -1 : (q.n_ - 2) / width * width; }

    void take(int64_t first) {
      count = std::min(width, q.n_ - 1 - first);
      row = first + 1;
      const int64_t m = q.n_ - row, k = count;
      for (int64_t c = 0; c < k; ++c) {
        for (int64_t r = 0; r < c; ++r) v[r * k + c] = 0;
        v[c * k + c] = 1;
        const Real* stored = q.a_ + (first + c) * q.ld_ + row;
        for (int64_t r = c + 1; r < m; ++r) v[r * k + c] = stored[r];
      }
      std::vector<Real> gram(static_cast<size_t>(k * k)), column(static_cast<size_t>(k));
      gemm(CblasTrans, CblasNoTrans, k, k, m, Real(1), v.get(), k, v.get(), k, Real(0), gram.data(), k);
      for (int64_t c = 0; c < k; ++c) {
        const Real tau = q.tau_[static_cast<size_t>(first + c)];
        for (int64_t i = 0; i < c; ++i) {
          Real sum = 0;
          for (int64_t j = i; j < c; ++j) sum += s[static_cast<size_t>(i * k + j)] * gram[static_cast<size_t>(j * k + c)];
          column[static_cast<size_t>(i)] = -tau * sum;
        }
        for (int64_t i = 0; i < k; ++i) {
          s[static_cast<size_t>(i * k + c)] = i < c ? column[static_cast<size_t>(i)] : i == c ? tau : Real(0);
        }
      }
    }

    const Tridiagonal& q;
    int64_t width, count = 0, row = 0;
    Buffer<Real> v;
    std::vector<Real> s;
  };

  // m = H m H^T, H = I - V S V^T, over the lower half: m - V Z^T - Z V^T with W = m V S^T and Z = W - V (S V^T W) / 2.
  // Rows and columns before `row` change only where they cross the others. Tiles on the diagonal keep both halves.
  bool rotate_block(const Blocks& block, Real* m, int64_t ldm, Real* w, Real* z, Real* left, Real* right,
                    const Context& context) const {
    const int64_t k = block.count, row = block.row, height = n_ - row, tiles = (n_ + kTile - 1) / kTile;
    const Real *v = block.v.get(), *s = block.s.data();
    for (int64_t i = row; i < row + k && i < n_; ++i) {  // the rows that this block adds
      for (int64_t j = i + 1; j < std::min(n_, (i / kTile + 1) * kTile); ++j) m[i * ldm + j] = m[j * ldm + i];
    }
    const bool multiplied = parallel_for(tiles, context, [&](int64_t tile) {
      const int64_t from = tile * kTile, to = std::min(n_, from + kTile), middle = std::clamp(row, from, to);
      if (from < middle) {
        gemm(CblasTrans, CblasNoTrans, middle - from, k, height, Real(1), m + row * ldm + from, ldm, v, k, Real(0), w + from * k, k);
      }
      if (middle < to) {
        gemm(CblasNoTrans, CblasNoTrans, to - middle, k, to - row, Real(1), m + middle * ldm + row, ldm, v, k, Real(0),
             w + middle * k, k);
        if (to < n_) {
          gemm(CblasTrans, CblasNoTrans, to - middle, k, n_ - to, Real(1), m + to * ldm + middle, ldm, v + (to - row) * k, k,
               Real(1), w + middle * k, k);
        }
      }
      gemm(CblasNoTrans, CblasTrans, to - from, k, k, Real(1), w + from * k, k, s, k, Real(0), z + from * k, k);
    });
    if (!multiplied) return false;
    std::vector<Real> inner(static_cast<size_t>(2 * k * k));
    Real *vw = inner.data(), *svw = vw + k * k;
    gemm(CblasTrans, CblasNoTrans, k, k, height, Real(1), v, k, z + row * k, k, Real(0), vw, k);
    gemm(CblasNoTrans, CblasNoTrans, k, k, k, Real(-0.5), s, k, vw, k, Real(0), svw, k);
    gemm(CblasNoTrans, CblasNoTrans, height, k, k, Real(1), v, k, svw, k, Real(1), z + row * k, k);
    for (int64_t r = 0; r < height; ++r) {  // [V Z] and [Z V]: one product for both terms
      std::copy_n(v + r * k, k, left + r * 2 * k);
      std::copy_n(z + (row + r) * k, k, left + r * 2 * k + k);
      std::copy_n(z + (row + r) * k, k, right + r * 2 * k);
      std::copy_n(v + r * k, k, right + r * 2 * k + k);
    }
    const int64_t before = row / kTile;  // tiles that do not change
    return parallel_for(tiles - before, context, [&](int64_t tile) {
      const int64_t last = tiles - 1 - tile;  // the longest rows first
      const int64_t from = std::max(row, last * kTile), to = std::min(n_, (last + 1) * kTile);
      if (row > 0) {
        gemm(CblasNoTrans, CblasTrans, to - from, row, k, Real(-1), v + (from - row) * k, k, z, k, Real(1), m + from * ldm, ldm);
      }
      gemm(CblasNoTrans, CblasTrans, to - from, to - row, 2 * k, Real(-1), left + (from - row) * 2 * k, 2 * k, right, 2 * k,
           Real(1), m + from * ldm + row, ldm);
    });
  }

  Real* a_;
  int64_t n_, ld_;
  std::vector<Real> d_, e_, tau_;
};

}  // namespace osc
