#include <algorithm>
#include <cmath>

#include "../core/parallel.h"
#include "../kernels.h"
#include "compress_checks.h"
#include "gram_accumulate.h"

namespace osc {

Status column_statistics(ColumnStatisticsArgs& args, const Context& context) {
  constexpr int64_t kColumns = 512;  // of a tile
  OSC_TRY(check(args));
  const Tensor& x = args.x;
  const int64_t tokens = x.shape[0], in = x.shape[1];
  const int64_t bad = first_non_finite(data<float>(x), tokens, in, x.strides[0], context);
  if (bad == -2) return aborted();
  if (bad >= 0) {
    return fail(OSC_NON_FINITE, bad, "activation [%lld, %lld] is not finite", static_cast<long long>(bad / in),
                static_cast<long long>(bad % in));
  }
  // Each column is one sum over the tokens in order: how they were cut into calls does not matter.
  const bool done = parallel_for((in + kColumns - 1) / kColumns, context, [&](int64_t tile) {
    const int64_t from = tile * kColumns, count = std::min(kColumns, in - from);
    double *__restrict squares = data<double>(args.squares) + from, *__restrict magnitudes = data<double>(args.magnitudes) + from;
    float* __restrict largest = data<float>(args.largest) + from;
    for (int64_t t = 0; t < tokens; ++t) {
      const float* row = data<float>(x) + t * x.strides[0] + from;
      for (int64_t j = 0; j < count; ++j) {
        const float size = std::fabs(row[j]);
        squares[j] += static_cast<double>(size) * static_cast<double>(size);
        magnitudes[j] += static_cast<double>(size);
        largest[j] = std::max(largest[j], size);
      }
    }
  });
  return done ? ok() : aborted();
}

}  // namespace osc
