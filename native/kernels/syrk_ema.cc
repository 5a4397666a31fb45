#include <algorithm>

#include "../dense/batch.h"
#include "../dense/product.h"
#include "../kernels.h"
#include "dense_checks.h"

namespace osc {
namespace {

constexpr int64_t kChunk = 16384;  // terms of the sums between two looks at the cancel flag

template <class Real>
Status update(const SyrkEmaArgs& args, int64_t m, int64_t k, int64_t item, const Context& context) {
  const int64_t d = args.transposed ? m : k, terms = args.transposed ? k : m;
  const Real* x = data<Real>(args.x) + item * m * k;
  Real* state = data<Real>(args.state) + item * d * d;
  if (terms == 0 || args.weight == 0) {
    for (int64_t i = 0; i < d * d; ++i) state[i] = args.beta == 0 ? Real(0) : static_cast<Real>(args.beta) * state[i];
    return ok();
  }
  const auto first = args.transposed ? CblasNoTrans : CblasTrans, second = args.transposed ? CblasTrans : CblasNoTrans;
  for (int64_t at = 0; at < terms; at += kChunk) {
    const Real* part = x + (args.transposed ? at : at * k);
    const auto beta = at == 0 ? static_cast<Real>(args.beta) : Real(1);
    if (!symmetric_product(first, second, d, std::min(kChunk, terms - at), static_cast<Real>(args.weight), part, k, part, k, beta,
                           state, d, context)) {
      return aborted();
    }
  }
  return ok();
}

}  // namespace

Status syrk_ema(SyrkEmaArgs& args, const Context& context) {
  const Tensor& x = args.x;
  if (x.rank < 2 || (x.dtype != OSC_FLOAT32 && x.dtype != OSC_FLOAT64) || !is_contiguous(x)) {
    return fail(OSC_ARGUMENT, 0, "x must be contiguous float32 or float64 [..., m, k]");
  }
  const int64_t m = x.shape[x.rank - 2], k = x.shape[x.rank - 1], d = args.transposed ? m : k;
  if (!is_batch(args.state, x, x.dtype, d, d)) return fail(OSC_ARGUMENT, 0, "state must be contiguous [..., d, d] of x's dtype");
  return for_each_matrix(batch_of(x), context, [&](int64_t item) {
    return x.dtype == OSC_FLOAT32 ? update<float>(args, m, k, item, context) : update<double>(args, m, k, item, context);
  });
}

}  // namespace osc
