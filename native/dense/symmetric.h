// Symmetric matrices: both halves are stored, and equal.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "../core/parallel.h"
#include "../core/status.h"
#include "asymmetry.h"
#include "transpose.h"

namespace osc {

inline constexpr int64_t kMirrorBlock = 64;  // side of the blocks that are mirrored: both halves of a pair stay in the cache

namespace detail {

struct BlockFacts {
  double largest = 0, asymmetry = 0;
  int64_t row = 0, columns = 0;  // the largest asymmetry is in this row, in the block of columns that starts here
  bool finite = true;
};

// Looks at the pairs of the block row `block` with column block <= row block; kCopy: out = (a + a^T) / 2, both halves.
template <bool kCopy, class Real>
BlockFacts symmetric_block_row(const Real* a, int64_t lda, int64_t n, Real* out, int64_t ld, int64_t block) {
  constexpr int64_t kBlock = kMirrorBlock;
  BlockFacts facts;
  const int64_t from = block * kBlock, to = std::min(n, from + kBlock);
  alignas(64) Real other[kBlock * kBlock];
  for (int64_t c = 0; c < to; c += kBlock) {
    const int64_t columns = std::min(kBlock, to - c);
    transpose_block(a + c * lda + from, lda, columns, to - from, other, kBlock);
    for (int64_t i = from; i < to; ++i) {
      const Real* x = a + i * lda + c;
      Real *y = other + (i - from) * kBlock, *target = kCopy ? out + i * ld + c : nullptr;
      // Lanes of their own for sums and maxima, or the loop would not become vector code.
      constexpr int64_t kLanes = 64 / sizeof(Real);
      Real largests[kLanes] = {}, asymmetries[kLanes] = {}, poisons[kLanes] = {};
      const auto step = [&](int64_t j, int64_t lane) {
        const Real size = std::fabs(x[j]), apart = std::fabs(x[j] - y[j]);
        poisons[lane] += apart - apart;  // NaN as soon as one is not finite
        largests[lane] = size > largests[lane] ? size : largests[lane];
        asymmetries[lane] = apart > asymmetries[lane] ? apart : asymmetries[lane];
        if constexpr (kCopy) target[j] = y[j] = x[j] / 2 + y[j] / 2;
      };
      int64_t j = 0;
      for (; j + kLanes <= columns; j += kLanes) {
        for (int64_t lane = 0; lane < kLanes; ++lane) step(j + lane, lane);
      }
      for (; j < columns; ++j) step(j, 0);
      Real largest = 0, asymmetry = 0, poison = 0;
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        largest = std::max(largest, largests[lane]);
        asymmetry = std::max(asymmetry, asymmetries[lane]);
        poison += poisons[lane];
      }
      facts.largest = std::max(facts.largest, static_cast<double>(largest));
      if (static_cast<double>(asymmetry) > facts.asymmetry) {
        facts.asymmetry = static_cast<double>(asymmetry);
        facts.row = i;
        facts.columns = c;
      }
      if (!(poison == 0)) facts.finite = false;
    }
    if (kCopy && c != from) transpose_block(other, kBlock, to - from, columns, out + c * ld + from, ld);
  }
  return facts;
}

template <bool kCopy, class Real>
Status look_at_symmetric(const Real* a, int64_t lda, int64_t n, int64_t first, Real* out, int64_t ld, const Context& context) {
  const int64_t blocks = (n + kMirrorBlock - 1) / kMirrorBlock;
  std::vector<BlockFacts> facts(static_cast<size_t>(blocks));
  const bool done = parallel_for(blocks, context, [&](int64_t block) {
    facts[static_cast<size_t>(block)] = symmetric_block_row<kCopy>(a, lda, n, out, ld, block);
  });
  if (!done) return aborted();
  BlockFacts all;
  for (const auto& f : facts) {
    all.finite = all.finite && f.finite;
    all.largest = std::max(all.largest, f.largest);
    if (f.asymmetry <= all.asymmetry) continue;
    all.asymmetry = f.asymmetry;
    all.row = f.row;
    all.columns = f.columns;
  }
  if (!all.finite) {
    int64_t at = 0;
    while (std::isfinite(a[at / n * lda + at % n])) ++at;
    return fail(OSC_NON_FINITE, first + at, "the matrix has NaN or Inf at row %lld, column %lld",
                static_cast<long long>(at / n), static_cast<long long>(at % n));
  }
  if (all.asymmetry > static_cast<double>(kAsymmetry<Real>) * all.largest) {
    int64_t column = all.columns;
    while (static_cast<double>(std::fabs(a[all.row * lda + column] - a[column * lda + all.row])) != all.asymmetry) ++column;
    return fail(OSC_ARGUMENT, first + all.row * n + column,
                "expected a symmetric matrix, but the entries (%lld, %lld) and (%lld, %lld) differ by %.3g",
                static_cast<long long>(all.row), static_cast<long long>(column), static_cast<long long>(column),
                static_cast<long long>(all.row), all.asymmetry);
  }
  return ok();
}

}  // namespace detail

// NON_FINITE (index: the first NaN or Inf) or ARGUMENT (index: where a is not symmetric), `first` added to the index: the flat
// position of a in its batch.
template <class Real>
Status check_symmetric(const Real* a, int64_t lda, int64_t n, int64_t first, const Context& context) {
  return detail::look_at_symmetric<false>(a, lda, n, first, static_cast<Real*>(nullptr), 0, context);
}

// The same, and out[n, ld] = (a + a^T) / 2, both halves; an exactly symmetric matrix is copied as it is.
template <class Real>
Status copy_symmetric(const Real* a, int64_t lda, int64_t n, int64_t first, Real* out, int64_t ld, const Context& context) {
  return detail::look_at_symmetric<true>(a, lda, n, first, out, ld, context);
}

// Copies the lower half of m[n, ld] to the upper one. Returns false when cancelled.
template <class Real>
bool mirror_lower(Real* m, int64_t ld, int64_t n, const Context& context) {
  return parallel_for((n + kMirrorBlock - 1) / kMirrorBlock, context, [&](int64_t block) {
    const int64_t from = block * kMirrorBlock, to = std::min(n, from + kMirrorBlock);
    for (int64_t c = 0; c < from; c += kMirrorBlock) {
      transpose_block(m + from * ld + c, ld, to - from, kMirrorBlock, m + c * ld + from, ld);
    }
    for (int64_t i = from; i < to; ++i) {
      for (int64_t j = from; j < i; ++j) m[j * ld + i] = m[i * ld + j];
    }
  });
}

// Row stride that keeps rows from landing on the same cache sets.
inline int64_t padded_stride(int64_t n) { return (n + 7) / 8 * 8 + 8; }

}  // namespace osc
