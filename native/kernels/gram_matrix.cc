#include <algorithm>

#include "checks.h"
#include "gram_accumulate.h"

namespace osc {
namespace {

constexpr int64_t kBlock = 64;  // side of the blocks that are mirrored through the first-level cache

// Rows [block_row * kBlock, ...) of the lower half of matrix = scale * sum, and their mirror image. sum may be matrix.
template <class Real>
void scale_and_mirror(const Real* sum, Real* matrix, int64_t n, double scale, int64_t block_row) {
  const int64_t from = block_row * kBlock, to = std::min(n, from + kBlock);
  Real block[kBlock][kBlock];
  for (int64_t c = 0; c < to; c += kBlock) {
    for (int64_t i = from; i < to; ++i) {
      const int64_t end = std::min(i + 1, c + kBlock);
      for (int64_t j = c; j < end; ++j) {
        matrix[i * n + j] = block[i - from][j - c] = static_cast<Real>(scale * static_cast<double>(sum[i * n + j]));
      }
    }
    for (int64_t j = c; j < std::min(to, c + kBlock); ++j) {
      for (int64_t i = std::max(from, j + 1); i < to; ++i) matrix[j * n + i] = block[i - from][j - c];
    }
  }
}

template <class Real>
Status make_matrix(const GramMatrixArgs& args, int64_t n, const Context& context) {
  const Real* sum = data<Real>(args.accumulator);
  Real* matrix = data<Real>(args.matrix);
  const int64_t blocks = (n + kBlock - 1) / kBlock;
  if (args.staged > 0) {
    const bool copied = parallel_for(blocks, context, [&](int64_t block) {
      for (int64_t i = block * kBlock; i < std::min(n, (block + 1) * kBlock); ++i) {
        std::copy(sum + i * n, sum + i * n + i + 1, matrix + i * n);
      }
    });
    if (!copied) return aborted();
    GramAccumulator gram(n, args.staged, 1, thread_count());
    if (!gram) return fail(OSC_OUT_OF_MEMORY, gram.bytes(), "no memory for the workspace of a Gram matrix");
    const GramRows staged{data<float>(args.staging), n};
    const auto outcome = gram.add({&staged, 1}, args.staged, args.matrix, context);
    if (outcome == GramAccumulator::Outcome::kNotFinite) return fail(OSC_NON_FINITE, 0, "a staged token is not finite");
    if (outcome == GramAccumulator::Outcome::kCancelled) return aborted();
    sum = matrix;
  }
  const bool scaled =
      parallel_for(blocks, context, [&](int64_t block) { scale_and_mirror(sum, matrix, n, args.scale, block); });
  return scaled ? ok() : aborted();
}

}  // namespace

Status gram_matrix(GramMatrixArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor& matrix = args.matrix;
  const int64_t n = matrix.shape[0];
  if (n == 0) return ok();
  return matrix.dtype == OSC_FLOAT64 ? make_matrix<double>(args, n, context) : make_matrix<float>(args, n, context);
}

}  // namespace osc
