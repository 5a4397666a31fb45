#include "common/finite.cuh"
#include "common/gram.cuh"
#include "kernels.h"
#include "kernels/checks.h"

namespace osc {
namespace {

// Rows [rows, columns] with any row stride to contiguous rows.
OSC_GLOBAL copy_rows(const float* x, int64_t stride, int64_t rows, int64_t columns, float* target) {
  const int64_t column = global_thread();
  if (column >= columns) return;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) target[row * columns + column] = x[row * stride + column];
}

}  // namespace

Status input_gram(InputGramArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor& x = args.x;
  const int64_t tokens = x.shape[0], in = x.shape[1], stride = x.strides[0];
  args.new_staged = (args.staged + tokens) % kGramChunk;
  if (in == 0 || tokens == 0) return ok();

  // All of x is looked at before anything changes.
  int64_t bad;
  OSC_TRY(first_non_finite(data<const float>(x), tokens, in, stride, &bad));
  if (bad >= 0) {
    return fail(OSC_NON_FINITE, bad, "activation [%lld, %lld] is not finite", static_cast<long long>(bad / in),
                static_cast<long long>(bad % in));
  }
  float* staging = data<float>(args.staging);
  const bool completes = args.staged + tokens >= kGramChunk;
  const ChunkSum sum(args.accumulator, completes ? 1 : 0, in);
  OSC_TRY(sum.allocated());
  int64_t staged = args.staged;
  for (int64_t next = 0; next < tokens;) {
    if (cancelled(context)) return aborted();
    const int64_t count = std::min(kGramChunk - staged, tokens - next);
    OSC_TRY(launch(copy_rows, grid_of_rows(in, count), dim3(256), 0, data<const float>(x) + next * stride, stride, count, in,
                   staging + staged * in));
    next += count;
    staged += count;
    if (staged < kGramChunk) break;
    OSC_TRY(sum.add(staging));
    staged = 0;
    report(context, static_cast<double>(next), static_cast<double>(tokens));
  }
  return ok();
}

}  // namespace osc
