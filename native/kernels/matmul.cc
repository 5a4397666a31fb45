#include <algorithm>

#include "../core/blas.h"
#include "../core/parallel.h"
#include "../kernels.h"
#include "matmul_shape.h"

namespace osc {
namespace {

constexpr int64_t kTile = 256;          // rows and columns of a tile of C
constexpr int64_t kChunk = 4096;        // of k between two looks at the cancel flag
constexpr int64_t kSmallWork = 1 << 20; // multiply-adds that are worth a tile of their own

template <class Real>
class Product {
 public:
  Product(const MatmulArgs& args, const Context& context)
      : args_(args),
        context_(context),
        shape_(args),
        a_(shape_.a),
        b_(shape_.b),
        c_(shape_.c),
        m_(shape_.m),
        n_(shape_.n),
        k_(shape_.k),
        batch_rank_(shape_.batch_rank) {}

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
    const bool a_trans = a_.transposed, b_trans = b_.transposed;
    const CBLAS_TRANSPOSE a_op = a_trans ? CblasTrans : CblasNoTrans, b_op = b_trans ? CblasTrans : CblasNoTrans;
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
        gemv(a_op, a_trans ? depth : rows, a_trans ? rows : depth, alpha, left, a_.ld, right, b_trans ? 1 : b_.ld, c,
             c_.ld);
      } else if (m_ == 1) {  // c^T = B^T a^T
        gemv(b_trans ? CblasNoTrans : CblasTrans, b_trans ? columns : depth, b_trans ? depth : columns, alpha, right,
             b_.ld, left, a_trans ? a_.ld : 1, c, 1);
      } else {
        gemm(a_op, b_op, rows, columns, depth, alpha, left, a_.ld, right, b_.ld, Real(1), c, c_.ld);
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
  const MatmulShape shape_;
  const BlasMatrix &a_, &b_, &c_;
  const int64_t m_, n_, k_;
  const int batch_rank_;
};

}  // namespace

Status matmul(MatmulArgs& args, const Context& context) {
  OSC_TRY(check(args));
  return args.c.dtype == OSC_FLOAT32 ? Product<float>(args, context).run() : Product<double>(args, context).run();
}

}  // namespace osc
