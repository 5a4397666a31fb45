// This work is based on: E. Frantar, S. Ashkboos, T. Hoefler, D. Alistarh, "GPTQ: Accurate Post-Training Quantization for
// Generative Pre-trained Transformers", 2022. Ours: one Cholesky of the reversed matrix and no inverse.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>
#include <vector>

#include "../core/blas.h"
#include "../core/memory.h"
#include "../core/parallel.h"
#include "../kernels.h"

namespace osc {
namespace {

constexpr int64_t kRowTile = 64;  // rows per tile of the copies
constexpr float kNegligible = 1e-20F;
constexpr int64_t kSolve = 128;   // columns solved at once by an explicit inverse

// Rows per tile and columns per step of the Cholesky; they depend on n alone.
struct Blocking {
  int64_t step, rows;
  explicit Blocking(int64_t n) : step(n <= 1024 ? 64 : 256), rows(n <= 1024 ? 96 : 256) {}
};

// Row stride that keeps rows from landing on the same cache sets.
int64_t padded(int64_t n) { return (n + 7) / 8 * 8 + 8; }

template <class H>
void copy_row(const H* row, const int32_t* order, int64_t i, int64_t n, double* target) {
  for (int64_t j = 0; j <= i; ++j) target[j] = static_cast<double>(row[order[n - 1 - j]]);
}
template <class H>
void copy_row(const H* row, const int32_t* order, int64_t i, int64_t n, float* target) {
  for (int64_t j = 0; j <= i; ++j) target[j] = static_cast<float>(row[order[n - 1 - j]]);
}

// x[rows, width] = x L^-T for the lower triangular L[width, width], by the inverses of L's diagonal blocks of kSolve columns
// (BLAS's triangular solve runs at a fifth of its product's speed). `work` holds rows * kSolve numbers.
template <class Real>
void solve_tile(int64_t rows, int64_t width, const Real* l, int64_t ldl, const Real* inverses, Real* x, int64_t ldx, Real* work) {
  for (int64_t b = 0; b < width; b += kSolve) {
    const int64_t columns = std::min(kSolve, width - b);
    if (b > 0) {
      gemm(CblasNoTrans, CblasTrans, rows, columns, b, Real(-1), x, ldx, l + b * ldl, ldl, Real(1), x + b, ldx);
    }
    for (int64_t r = 0; r < rows; ++r) std::copy_n(x + r * ldx + b, columns, work + r * kSolve);
    gemm(CblasNoTrans, CblasTrans, rows, columns, columns, Real(1), work, kSolve, inverses + b * kSolve, kSolve, Real(0),
         x + b, ldx);
  }
}

// The inverses of the diagonal blocks of L[width, width], [width][kSolve], their upper halves zero.
template <class Real>
void invert_diagonal_blocks(int64_t width, const Real* l, int64_t ldl, Real* inverses) {
  for (int64_t b = 0; b < width; b += kSolve) {
    const int64_t columns = std::min(kSolve, width - b);
    Real* target = inverses + b * kSolve;
    for (int64_t i = 0; i < columns; ++i) {
      std::fill_n(target + i * kSolve, kSolve, Real(0));
      std::copy_n(l + (b + i) * ldl + b, i + 1, target + i * kSolve);
    }
    invert_lower(columns, target, kSolve);
  }
}

// Lower Cholesky of s[n, lds] in place, left-looking over column steps; tiles of rows in parallel, each a few BLAS calls, so
// the result does not depend on the number of threads. Returns -1, or the row whose pivot failed; -2 when cancelled.
template <class Real>
int64_t blocked_cholesky(Real* s, int64_t n, int64_t lds, const Context& context) {
  const Blocking blocking(n);
  std::vector<Real> inverses(static_cast<size_t>(blocking.step * kSolve));
  for (int64_t c = 0; c < n; c += blocking.step) {
    const int64_t width = std::min(blocking.step, n - c);
    const int64_t below = n - c - width;
    const int64_t tiles = (below + blocking.rows - 1) / blocking.rows;
    const auto rows_of = [&](int64_t tile) {
      const int64_t first = c + width + tile * blocking.rows;
      return std::pair{first, std::min(blocking.rows, n - first)};
    };
    if (c > 0) {  // tile 0 is the diagonal block: everything waits for it
      const bool done = parallel_for(tiles + 1, context, [&](int64_t tile) {
        const auto [first, rows] = tile == 0 ? std::pair{c, width} : rows_of(tile - 1);
        gemm(CblasNoTrans, CblasTrans, rows, width, c, Real(-1), s + first * lds, lds, s + c * lds, lds, Real(1),
             s + first * lds + c, lds);
      });
      if (!done) return -2;
    }
    const int info = potrf(width, s + c * lds + c, lds);
    if (info != 0) return c + info - 1;
    for (int64_t i = c; i < c + width; ++i) {  // OpenBLAS lets NaN pass
      if (!(s[i * lds + i] > 0)) return i;
    }
    if (tiles > 0) invert_diagonal_blocks(width, s + c * lds + c, lds, inverses.data());
    const bool done = parallel_for(tiles, context, [&](int64_t tile) {
      const auto [first, rows] = rows_of(tile);
      std::vector<Real> work(static_cast<size_t>(rows * kSolve));
      solve_tile(rows, width, s + c * lds + c, lds, inverses.data(), s + first * lds + c, lds, work.data());
    });
    if (!done) return -2;
    report(context, static_cast<double>(c + width) / static_cast<double>(n), 1.0);
  }
  return -1;
}

template <class Real, class H>
Status factorize(GptqFactorArgs& args, const H* gram, int64_t ldh, double damping, const Context& context) {
  const int64_t n = args.gram.shape[0], lds = padded(n);
  const int32_t* order = data<int32_t>(args.order);
  const uint8_t* dead = data<uint8_t>(args.dead);
  Buffer<Real> storage(n * lds);
  if (!storage) return fail(OSC_OUT_OF_MEMORY, n * lds * static_cast<int64_t>(sizeof(Real)), "no memory for the factorization");
  Real* s = storage.get();
  const int64_t tiles = (n + kRowTile - 1) / kRowTile;

  // s = P H P with P the reversal of the processing order, damped; dead columns are unit vectors.
  bool done = parallel_for(tiles, context, [&](int64_t tile) {
    for (int64_t i = tile * kRowTile; i < std::min(n, (tile + 1) * kRowTile); ++i) {
      const int64_t column = order[n - 1 - i];
      Real* row = s + i * lds;
      copy_row(gram + column * ldh, order, i, n, row);
      for (int64_t j = 0; j < i; ++j) {
        if (dead[column] || dead[order[n - 1 - j]]) row[j] = 0;
      }
      row[i] = (dead[column] ? Real(1) : row[i]) + static_cast<Real>(damping);
    }
  });
  if (!done) return aborted();

  const int64_t failed = blocked_cholesky(s, n, lds, context);
  if (failed == -2) return aborted();
  if (failed >= 0) {
    const int64_t column = order[n - 1 - failed];
    return fail(OSC_NOT_POSITIVE_DEFINITE, column,
                "the matrix with damping %.6g is not positive definite: the pivot of column %lld failed", damping,
                static_cast<long long>(column));
  }

  double* diagonal = data<double>(args.diagonal);
  std::vector<Real> inverse(static_cast<size_t>(n));
  for (int64_t j = 0; j < n; ++j) {
    const Real r = s[(n - 1 - j) * lds + (n - 1 - j)];
    diagonal[j] = static_cast<double>(r);
    inverse[static_cast<size_t>(j)] = Real(1) / r;
  }
  float* factor = data<float>(args.factor);
  const int64_t ldn = args.factor.strides[0];
  done = parallel_for(tiles, context, [&](int64_t tile) {
    for (int64_t i = tile * kRowTile; i < std::min(n, (tile + 1) * kRowTile); ++i) {
      const Real* row = s + (n - 1 - i) * lds + (n - 1);
      float* target = factor + i * ldn;
      for (int64_t j = i + 1; j < n; ++j) {
        // Entries that no float32 sum can notice become zero: as subnormal numbers they make every product 10 times slower.
        const float value = static_cast<float>(row[-j] * inverse[static_cast<size_t>(j)]);
        target[j] = std::fabs(value) < kNegligible ? 0.0F : value;
      }
    }
  });
  return done ? ok() : aborted();
}

template <class H>
Status with_gram(GptqFactorArgs& args, const H* gram, const Context& context) {
  const int64_t n = args.gram.shape[0], ldh = args.gram.strides[0];
  int32_t* order = data<int32_t>(args.order);
  uint8_t* dead = data<uint8_t>(args.dead);
  std::vector<double> diag(static_cast<size_t>(n));

  // One NaN or Inf would make every entry of the factor one.
  std::atomic<int64_t> bad{INT64_MAX};
  const bool done = parallel_for((n + kRowTile - 1) / kRowTile, context, [&](int64_t tile) {
    for (int64_t i = tile * kRowTile; i < std::min(n, (tile + 1) * kRowTile); ++i) {
      H sum = 0;  // NaN when any entry is: x - x is 0 for finite x only
      const H* row = gram + i * ldh;
      for (int64_t j = 0; j < n; ++j) sum += row[j] - row[j];
      diag[static_cast<size_t>(i)] = static_cast<double>(row[i]);
      if (sum == 0) continue;
      int64_t j = 0;
      while (std::isfinite(row[j])) ++j;
      int64_t seen = bad.load();
      while (i * n + j < seen && !bad.compare_exchange_weak(seen, i * n + j)) {
      }
    }
  });
  if (!done) return aborted();
  if (bad.load() != INT64_MAX) {
    return fail(OSC_NON_FINITE, bad.load(), "the matrix has NaN or Inf at row %lld, column %lld",
                static_cast<long long>(bad.load() / n), static_cast<long long>(bad.load() % n));
  }

  double sum = 0;
  args.dead_columns = 0;
  for (int64_t j = 0; j < n; ++j) {
    double& d = diag[static_cast<size_t>(j)];
    dead[j] = d == 0;
    if (dead[j]) {
      d = 1;
      ++args.dead_columns;
    }
    sum += d;
  }
  std::iota(order, order + n, 0);
  if (args.act_order) {
    std::stable_sort(order, order + n,
                     [&](int32_t a, int32_t b) { return diag[static_cast<size_t>(a)] > diag[static_cast<size_t>(b)]; });
  }
  args.damping = n ? args.damp_percent * sum / static_cast<double>(n) : 0.0;
  return args.precision == 32 ? factorize<float>(args, gram, ldh, args.damping, context)
                              : factorize<double>(args, gram, ldh, args.damping, context);
}

}  // namespace

Status gptq_factor(GptqFactorArgs& args, const Context& context) {
  const Tensor& gram = args.gram;
  const int64_t n = gram.rank == 2 ? gram.shape[0] : -1;
  if (n < 0 || gram.shape[1] != n || (n > 1 && gram.strides[1] != 1)) return fail(OSC_ARGUMENT, 0, "gram must be [n, n] with contiguous rows");
  if (args.factor.rank != 2 || args.factor.shape[0] != n || args.factor.shape[1] != n) return fail(OSC_ARGUMENT, 0, "factor must be [n, n]");
  if (size_of(args.diagonal) != n || size_of(args.order) != n || size_of(args.dead) != n) {
    return fail(OSC_ARGUMENT, 0, "diagonal, order and dead must have n elements");
  }
  if (gram.dtype == OSC_FLOAT32) return with_gram(args, data<float>(gram), context);
  if (gram.dtype == OSC_FLOAT64) return with_gram(args, data<double>(gram), context);
  return fail(OSC_ARGUMENT, 0, "gram must be float32 or float64");
}

}  // namespace osc
