#include <algorithm>
#include <vector>

#include "../core/blas.h"
#include "../core/memory.h"
#include "../core/parallel.h"
#include "../kernels.h"
#include "compress_checks.h"
#include "gram_accumulate.h"

namespace osc {
namespace {

constexpr int64_t kTile = 256;

Status check_finite(const Tensor& t, const char* name, const Context& context) {
  const int64_t in = t.shape[1];
  const int64_t bad = first_non_finite(data<float>(t), t.shape[0], in, t.strides[0], context);
  if (bad == -2) return aborted();
  if (bad == -1) return ok();
  return fail(OSC_NON_FINITE, bad, "%s [%lld, %lld] is not finite", name, static_cast<long long>(bad / in),
              static_cast<long long>(bad % in));
}

template <class Real>
Status accumulate(CrossGramArgs& args, const Context& context) {
  const int64_t tokens = args.x.shape[0], in = args.x.shape[1], ldx = args.x.strides[0], ldr = args.reference.strides[0];
  const float *x = data<float>(args.x), *reference = data<float>(args.reference);
  Real* sum = data<Real>(args.accumulator);
  const int64_t chunk = std::min(tokens, kGramChunk), across = (in + kTile - 1) / kTile;
  const int64_t workers = std::min<int64_t>(thread_count(), across * across);
  Buffer<float> gap(chunk * in), products(workers * kTile * kTile);
  if (!gap || !products) return fail(OSC_OUT_OF_MEMORY, gap.bytes() + products.bytes(), "no memory for the workspace of a cross Gram matrix");
  Slots slots(workers);
  for (int64_t t0 = 0; t0 < tokens; t0 += chunk) {
    const int64_t count = std::min(chunk, tokens - t0), rows = std::max<int64_t>(1, 65536 / in);
    bool done = parallel_for((count + rows - 1) / rows, context, [&](int64_t tile) {
      for (int64_t t = tile * rows; t < std::min(count, (tile + 1) * rows); ++t) {
        for (int64_t j = 0; j < in; ++j) gap[t * in + j] = reference[(t0 + t) * ldr + j] - x[(t0 + t) * ldx + j];
      }
    });
    done = done && parallel_for(across * across, context, [&](int64_t tile) {
      const int64_t slot = slots.take(), i = tile / across * kTile, j = tile % across * kTile;
      const int64_t m = std::min(kTile, in - i), n = std::min(kTile, in - j);
      float* product = products.get() + slot * kTile * kTile;
      gemm(CblasTrans, CblasNoTrans, m, n, count, 1.0F, gap.get() + i, in, x + t0 * ldx + j, ldx, 0.0F, product, kTile);
      for (int64_t r = 0; r < m; ++r) {
        for (int64_t c = 0; c < n; ++c) sum[(i + r) * in + j + c] += static_cast<Real>(product[r * kTile + c]);
      }
      slots.give(slot);
    });
    if (!done) return aborted();
  }
  return ok();
}

}  // namespace

Status cross_gram(CrossGramArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &x = args.x, &reference = args.reference, &sum = args.accumulator;
  const int64_t in = x.shape[1];
  if (x.shape[0] == 0 || in == 0) return ok();
  OSC_TRY(check_finite(x, "activation", context));
  OSC_TRY(check_finite(reference, "reference activation", context));
  return sum.dtype == OSC_FLOAT64 ? accumulate<double>(args, context) : accumulate<float>(args, context);
}

}  // namespace osc
