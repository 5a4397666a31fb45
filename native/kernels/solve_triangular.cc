#include <algorithm>

#include "../core/blas.h"
#include "../core/parallel.h"
#include "../dense/batch.h"
#include "../dense/triangular.h"
#include "../kernels.h"
#include "dense_checks.h"

namespace osc {
namespace {

constexpr int64_t kStep = 128;     // rows solved at once
constexpr int64_t kColumns = 256;  // right-hand sides of a tile
constexpr int64_t kFew = 32;       // up to so many right-hand sides the inverses of diagonal blocks do not pay

// One triangular system op(T) X = B in X's place.
template <class Real>
class Solve {
 public:
  Solve(const SolveTriangularArgs& args, int64_t n, int64_t k, int64_t item)
      : t_(data<Real>(args.triangle) + item * n * n),
        x_(data<Real>(args.x) + item * n * k),
        n_(n),
        k_(k),
        upper_(args.upper != 0),
        trans_(args.transposed ? CblasTrans : CblasNoTrans) {}

  bool run(const Context& context) {
    const int64_t blocks = (n_ + kStep - 1) / kStep;
    const bool invert = k_ > kFew;
    Buffer<Real> inverses;
    if (invert) {
      inverses = workspace<Real>(blocks * kStep * kStep);
      const bool done = parallel_for(blocks, context, [&](int64_t b) { invert_block(b * kStep, inverses.get()); });
      if (!done) return false;
    }
    const bool downward = upper_ == (trans_ == CblasTrans);
    return parallel_for((k_ + kColumns - 1) / kColumns, context, [&](int64_t tile) {
      const int64_t j = tile * kColumns, columns = std::min(kColumns, k_ - j);
      const auto work = invert ? workspace<Real>(kStep * columns) : Buffer<Real>();
      for (int64_t b = 0; b < blocks && !cancelled(context); ++b) {
        solve_rows((downward ? b : blocks - 1 - b) * kStep, downward, j, columns, inverses.get(), work.get());
      }
    }) && !cancelled(context);
  }

 private:
  // The inverse of the diagonal block at i, not transposed; an upper one is inverted as the lower one it is the transpose of.
  void invert_block(int64_t i, Real* inverses) const {
    const int64_t rows = std::min(kStep, n_ - i);
    Real* target = inverses + i * kStep;
    for (int64_t r = 0; r < rows; ++r) {
      std::fill_n(target + r * kStep, kStep, Real(0));
      for (int64_t c = 0; c <= r; ++c) target[r * kStep + c] = upper_ ? t_[(i + c) * n_ + i + r] : t_[(i + r) * n_ + i + c];
    }
    invert_lower(rows, target, kStep);
  }

  // Rows i.. of the solution, after those above (downward) or below them.
  void solve_rows(int64_t i, bool downward, int64_t j, int64_t columns, const Real* inverses, Real* work) const {
    const int64_t rows = std::min(kStep, n_ - i);
    const int64_t from = downward ? 0 : i + rows, count = downward ? i : n_ - from;
    Real* x = x_ + i * k_ + j;
    if (count > 0) {
      const Real* t = trans_ == CblasTrans ? t_ + from * n_ + i : t_ + i * n_ + from;
      gemm(trans_, CblasNoTrans, rows, columns, count, Real(-1), t, n_, x_ + from * k_ + j, k_, Real(1), x, k_);
    }
    if (!inverses) {
      trsm(upper_ ? CblasUpper : CblasLower, trans_, rows, columns, t_ + i * n_ + i, n_, x, k_);
      return;
    }
    for (int64_t r = 0; r < rows; ++r) std::copy_n(x + r * k_, columns, work + r * columns);
    const bool transposed = upper_ != (trans_ == CblasTrans);
    gemm(transposed ? CblasTrans : CblasNoTrans, CblasNoTrans, rows, columns, rows, Real(1), inverses + i * kStep, kStep, work,
         columns, Real(0), x, k_);
  }

  const Real* t_;
  Real* x_;
  int64_t n_, k_;
  bool upper_;
  CBLAS_TRANSPOSE trans_;
};

template <class Real>
Status solve(const SolveTriangularArgs& args, int64_t n, int64_t k, int64_t item, const Context& context) {
  OSC_TRY(check_diagonal(data<Real>(args.triangle) + item * n * n, n, item));
  std::copy_n(data<Real>(args.b) + item * n * k, n * k, data<Real>(args.x) + item * n * k);
  return Solve<Real>(args, n, k, item).run(context) ? ok() : aborted();
}

}  // namespace

Status solve_triangular(SolveTriangularArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor& t = args.triangle;
  const int64_t n = order_of(t), k = order_of(args.b);
  if (k == 0) return ok();
  return for_each_matrix(batch_of(t), context, [&](int64_t item) {
    return t.dtype == OSC_FLOAT32 ? solve<float>(args, n, k, item, context) : solve<double>(args, n, k, item, context);
  });
}

}  // namespace osc
