#include <atomic>
#include <vector>

#include "../core/parallel.h"
#include "../kernels.h"
#include "compress_checks.h"
#include "obs_rows.h"

namespace osc {
namespace {

// The kept weights K of a row that answer the pruned ones S best: w_K + H_KK^-1 H_KS w_S. The loss is 1/2 d H d^T of what is
// left. False when H_KK is not positive definite.
bool refit(const ObsMatrix& matrix, const float* weight, const uint8_t* mask, float* refitted, double* loss) {
  const int64_t n = matrix.size();
  std::vector<int64_t> kept;
  std::vector<double> w(static_cast<size_t>(n));
  for (int64_t j = 0; j < n; ++j) {
    w[static_cast<size_t>(j)] = matrix.dead(j) ? 0.0 : static_cast<double>(weight[j]);
    if (mask[j]) kept.push_back(j);
  }
  const auto count = static_cast<int64_t>(kept.size());
  std::vector<double> a(static_cast<size_t>(count * count)), answer(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = kept[static_cast<size_t>(i)];
    for (int64_t j = 0; j <= i; ++j) a[static_cast<size_t>(i * count + j)] = matrix.at(row, kept[static_cast<size_t>(j)]);
    for (int64_t j = 0; j < n; ++j) {
      if (!mask[j]) answer[static_cast<size_t>(i)] += matrix.at(row, j) * w[static_cast<size_t>(j)];
    }
  }
  if (count > 0 && potrf(count, a.data(), count) != 0) return false;
  if (count > 0) {
    trsm(CblasLower, CblasNoTrans, count, 1, a.data(), count, answer.data(), 1);
    trsm(CblasLower, CblasTrans, count, 1, a.data(), count, answer.data(), 1);
  }
  std::vector<double> gap(static_cast<size_t>(n));
  for (int64_t j = 0; j < n; ++j) gap[static_cast<size_t>(j)] = mask[j] ? 0 : w[static_cast<size_t>(j)];
  for (int64_t i = 0; i < count; ++i) gap[static_cast<size_t>(kept[static_cast<size_t>(i)])] = -answer[static_cast<size_t>(i)];
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < n; ++j) sum += matrix.at(i, j) * gap[static_cast<size_t>(j)];
    *loss += 0.5 * sum * gap[static_cast<size_t>(i)];
    refitted[i] = mask[i] ? static_cast<float>(w[static_cast<size_t>(i)] - gap[static_cast<size_t>(i)]) : 0.0F;
  }
  return true;
}

}  // namespace

Status obs_refit_rows(ObsRefitRowsArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &weight = args.weight, &mask = args.mask;
  const int64_t rows = weight.shape[0], columns = weight.shape[1];
  ObsMatrix matrix;
  OSC_TRY(matrix.load(args.gram, args.damping));
  std::vector<double> losses(static_cast<size_t>(rows));
  std::atomic<bool> indefinite{false};
  const bool done = parallel_for(rows, context, [&](int64_t r) {
    const bool solved = refit(matrix, data<float>(weight) + r * weight.strides[0], data<uint8_t>(mask) + r * mask.strides[0],
                              data<float>(args.refitted) + r * columns, &losses[static_cast<size_t>(r)]);
    if (!solved) indefinite = true;
  });
  if (indefinite) return fail(OSC_NOT_POSITIVE_DEFINITE, 0, "the damped matrix of the kept weights is not positive definite");
  if (!done) return aborted();
  args.loss = 0;
  for (const double loss : losses) args.loss += loss;
  args.zeros = 0;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < columns; ++j) args.zeros += data<uint8_t>(mask)[r * mask.strides[0] + j] == 0;
  }
  return ok();
}

}  // namespace osc
