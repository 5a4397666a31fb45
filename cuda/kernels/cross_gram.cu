#include <algorithm>

#include "common/blas.h"
#include "common/finite.cuh"
#include "common/flat.cuh"
#include "kernels.h"
#include "kernels/compress_checks.h"

namespace osc {
namespace {

struct Gap {
  const float *x, *reference;
  int64_t ldx, ldr, in;
  float* gap;
  __device__ void operator()(int64_t at) const {
    gap[at] = reference[at / in * ldr + at % in] - x[at / in * ldx + at % in];
  }
};

template <class Real>
struct AddProduct {
  const float* product;
  Real* sum;
  __device__ void operator()(int64_t at) const { sum[at] += static_cast<Real>(product[at]); }
};

Status check_finite(const Tensor& t, const char* name) {
  const int64_t in = t.shape[1];
  int64_t bad;
  OSC_TRY(first_non_finite(data<const float>(t), t.shape[0], in, t.strides[0], &bad));
  if (bad < 0) return ok();
  return fail(OSC_NON_FINITE, bad, "%s [%lld, %lld] is not finite", name, static_cast<long long>(bad / in),
              static_cast<long long>(bad % in));
}

template <class Real>
Status accumulate(const CrossGramArgs& args, const Context& context) {
  const int64_t tokens = args.x.shape[0], in = args.x.shape[1], ldx = args.x.strides[0], ldr = args.reference.strides[0];
  const int64_t chunk = std::min(tokens, kGramChunk);
  DeviceBuffer<float> gap(chunk * in), product(in * in);
  if (!gap) return gap.status();
  if (!product) return product.status();
  for (int64_t t = 0; t < tokens; t += chunk) {
    if (cancelled(context)) return aborted();
    const int64_t count = std::min(chunk, tokens - t);
    const float *x = data<const float>(args.x) + t * ldx, *reference = data<const float>(args.reference) + t * ldr;
    OSC_TRY(launch_each(Gap{x, reference, ldx, ldr, in, gap.get()}, count * in));
    OSC_TRY(gemm(Transpose::kYes, Transpose::kNo, in, in, count, 1, gap.get(), in, x, std::max(ldx, in), 0, product.get(), in));
    OSC_TRY(launch_each(AddProduct<Real>{product.get(), data<Real>(args.accumulator)}, in * in));
  }
  return ok();
}

}  // namespace

Status cross_gram(CrossGramArgs& args, const Context& context) {
  OSC_TRY(check(args));
  if (size_of(args.x) == 0) return ok();
  // Both are looked at before anything changes.
  OSC_TRY(check_finite(args.x, "activation"));
  OSC_TRY(check_finite(args.reference, "reference activation"));
  return args.accumulator.dtype == OSC_FLOAT64 ? accumulate<double>(args, context) : accumulate<float>(args, context);
}

}  // namespace osc
