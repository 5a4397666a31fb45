#include "common/finite.cuh"
#include "kernels.h"
#include "kernels/compress_checks.h"

namespace osc {
namespace {

// A thread a column: each sum is taken in the order of the tokens, so that the cutting into batches changes no bit.
OSC_GLOBAL add_columns(const float* x, int64_t stride, int64_t tokens, int64_t in, double* squares, double* magnitudes, float* largest) {
  const int64_t column = global_thread();
  if (column >= in) return;
  double square = squares[column], magnitude = magnitudes[column];
  float most = largest[column];
  for (int64_t t = 0; t < tokens; ++t) {
    const float size = fabsf(x[t * stride + column]);
    square += static_cast<double>(size) * static_cast<double>(size);  // the product is exact
    magnitude += static_cast<double>(size);
    if (size > most) most = size;
  }
  squares[column] = square;
  magnitudes[column] = magnitude;
  largest[column] = most;
}

}  // namespace

Status column_statistics(ColumnStatisticsArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor& x = args.x;
  const int64_t tokens = x.shape[0], in = x.shape[1], stride = x.strides[0];
  if (tokens == 0 || in == 0) return ok();
  int64_t bad;
  OSC_TRY(first_non_finite(data<const float>(x), tokens, in, stride, &bad));
  if (bad >= 0) {
    return fail(OSC_NON_FINITE, bad, "activation [%lld, %lld] is not finite", static_cast<long long>(bad / in),
                static_cast<long long>(bad % in));
  }
  if (cancelled(context)) return aborted();
  return launch(add_columns, dim3(static_cast<unsigned>(blocks_for(in, 64))), dim3(64), 0, data<const float>(x), stride, tokens, in,
                data<double>(args.squares), data<double>(args.magnitudes), data<float>(args.largest));
}

}  // namespace osc
