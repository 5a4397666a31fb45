#include <algorithm>
#include <climits>

#include "../core/blas.h"
#include "../core/parallel.h"
#include "../kernels.h"

namespace osc {
namespace {

constexpr int64_t kTile = 256;          // rows and columns of a tile of C
constexpr int64_t kChunk = 4096;        // of k between two looks at the cancel flag
constexpr int64_t kSmallWork = 1 << 20; // multiply-adds that are worth a tile of their own

// The last two dimensions of a tensor as BLAS takes them.
struct Matrix {
  CBLAS_TRANSPOSE trans = CblasNoTrans;
  int64_t ld = 1;
  bool valid = false;
};

Matrix matrix_of(const Tensor& t) {
  const int64_t rows = t.shape[t.rank - 2], columns = t.shape[t.rank - 1];
  const int64_t down = t.strides[t.rank - 2], along = t.strides[t.rank - 1];
  const auto fits = [](int64_t step, int64_t length, int64_t count) {
    return count <= 1 || (step >= length && step <= INT_MAX);
  };
  if ((along == 1 || columns <= 1) && fits(down, columns, rows)) {
    return {CblasNoTrans, rows <= 1 ? std::max<int64_t>(columns, 1) : down, true};
  }
  if ((down == 1 || rows <= 1) && fits(along, rows, columns)) {
    return {CblasTrans, columns <= 1 ? std::max<int64_t>(rows, 1) : along, true};
  }
  return {};
}

template <class Real>
class Product {
 public:
  Product(const MatmulArgs& args, const Context& context)
      : args_(args),
        context_(context),
        a_(matrix_of(args.a)),
        b_(matrix_of(args.b)),
        c_(matrix_of(args.c)),
        m_(args.c.shape[args.c.rank - 2]),
        n_(args.c.shape[args.c.rank - 1]),
        k_(args.a.shape[args.a.rank - 1]),
        batch_rank_(args.c.rank - 2) {
    fold_rows();
  }

  Status run() {
    int64_t batch = 1;
    for (int i = 0; i < batch_rank_; ++i) batch *= args_.c.shape[i];
    if (batch == 0 || m_ == 0 || n_ == 0) return ok();
    const int64_t across = (n_ + kTile - 1) / kTile, tiles = (m_ + kTile - 1) / kTile * across;
    // Small matrices share a tile.
    const int64_t together = tiles > 1 ? 1 : std::max<int64_t>(1, kSmallWork / (m_ * n_ * std::max<int64_t>(k_, 1)));
    const int64_t groups = (batch + together - 1) / together;
    const bool done = parallel_for(groups * tiles, context_, [&](int64_t index) {
      const int64_t tile = index % tiles, first = index / tiles * together;
      for (int64_t item = first; item < std::min(batch, first + together); ++item) {
        multiply(item, tile / across * kTile, tile % across * kTile);
      }
    });
    return done && !cancelled(context_) ? ok() : aborted();
  }

 private:
  // A matrix B that is repeated along the innermost batch dimension multiplies the rows of all matrices A at once.
  void fold_rows() {
    while (batch_rank_ > 0) {
      const int last = batch_rank_ - 1;
      const int64_t count = args_.c.shape[last];
      const auto stacked = [&](const Tensor& t, int64_t ld) { return count == 1 || t.strides[last] == m_ * ld; };
      const bool repeats = count == 1 || args_.b.strides[last] == 0;
      if (!repeats || a_.trans != CblasNoTrans || !stacked(args_.a, a_.ld) || !stacked(args_.c, c_.ld)) return;
      if (m_ == 0 || count > INT_MAX / m_) return;
      m_ *= count;
      --batch_rank_;
    }
  }

  int64_t offset(const Tensor& t, int64_t item) const {
    int64_t at = 0;
    for (int i = batch_rank_ - 1; i >= 0; --i) {
      at += item % args_.c.shape[i] * t.strides[i];
      item /= args_.c.shape[i];
    }
    return at;
  }

  // One tile of one product, from row i and column j.
  void multiply(int64_t item, int64_t i, int64_t j) const {
    const int64_t rows = std::min(kTile, m_ - i), columns = std::min(kTile, n_ - j);
    const bool a_trans = a_.trans == CblasTrans, b_trans = b_.trans == CblasTrans;
    const Real* a = data<Real>(args_.a) + offset(args_.a, item) + i * (a_trans ? 1 : a_.ld);
    const Real* b = data<Real>(args_.b) + offset(args_.b, item) + j * (b_trans ? b_.ld : 1);
    Real* c = data<Real>(args_.c) + offset(args_.c, item) + i * c_.ld + j;
    scale(rows, columns, c);
    const auto alpha = static_cast<Real>(args_.alpha);
    for (int64_t p = 0; p < k_ && !cancelled(context_); p += kChunk) {
      const int64_t depth = std::min(kChunk, k_ - p);
      const Real* left = a + p * (a_trans ? a_.ld : 1);
      const Real* right = b + p * (b_trans ? 1 : b_.ld);
      if (n_ == 1) {
        gemv(a_.trans, a_trans ? depth : rows, a_trans ? rows : depth, alpha, left, a_.ld, right, b_trans ? 1 : b_.ld, c,
             c_.ld);
      } else if (m_ == 1) {  // c^T = B^T a^T
        gemv(b_trans ? CblasNoTrans : CblasTrans, b_trans ? columns : depth, b_trans ? depth : columns, alpha, right,
             b_.ld, left, a_trans ? a_.ld : 1, c, 1);
      } else {
        gemm(a_.trans, b_.trans, rows, columns, depth, alpha, left, a_.ld, right, b_.ld, Real(1), c, c_.ld);
      }
    }
  }

  // c *= beta, where 0 gives 0 whatever c holds.
  void scale(int64_t rows, int64_t columns, Real* c) const {
    const auto beta = static_cast<Real>(args_.beta);
    if (beta == Real(1)) return;
    for (int64_t r = 0; r < rows; ++r) {
      Real* row = c + r * c_.ld;
      if (beta == Real(0)) {
        std::fill_n(row, columns, Real(0));
      } else {
        for (int64_t q = 0; q < columns; ++q) row[q] *= beta;
      }
    }
  }

  const MatmulArgs& args_;
  const Context& context_;
  const Matrix a_, b_, c_;
  int64_t m_;
  const int64_t n_, k_;
  int batch_rank_;
};

}  // namespace

Status matmul(MatmulArgs& args, const Context& context) {
  const Tensor &a = args.a, &b = args.b, &c = args.c;
  const int rank = c.rank;
  if (rank < 2 || a.rank != rank || b.rank != rank) return fail(OSC_ARGUMENT, 0, "a, b and c must have one rank, 2 or more");
  if (a.dtype != c.dtype || b.dtype != c.dtype) return fail(OSC_ARGUMENT, 0, "a, b and c must have one dtype");
  for (int i = 0; i < rank - 2; ++i) {
    if (a.shape[i] != c.shape[i] || b.shape[i] != c.shape[i]) return fail(OSC_ARGUMENT, 0, "a, b and c must have one batch shape");
  }
  if (a.shape[rank - 2] != c.shape[rank - 2] || b.shape[rank - 1] != c.shape[rank - 1] ||
      a.shape[rank - 1] != b.shape[rank - 2]) {
    return fail(OSC_ARGUMENT, 0, "the shapes of a, b and c do not fit");
  }
  const Matrix result = matrix_of(c);
  if (!matrix_of(a).valid || !matrix_of(b).valid || !result.valid || result.trans != CblasNoTrans) {
    return fail(OSC_ARGUMENT, 0, "a and b need rows or columns that are contiguous, c needs rows that are");
  }
  if (c.dtype == OSC_FLOAT32) return Product<float>(args, context).run();
  if (c.dtype == OSC_FLOAT64) return Product<double>(args, context).run();
  return fail(OSC_ARGUMENT, 0, "a, b and c must be float32 or float64");
}

}  // namespace osc
