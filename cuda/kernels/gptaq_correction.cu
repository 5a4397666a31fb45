// This work is based on: Y. Li et al., "GPTAQ", 2025; in the form of native/kernels/gptaq_correction.cc. Here all rows of T are
// solved at once, T = D (I + N)^-T: the part of T below the diagonal is not wanted, but does not disturb what is above it.
#include "common/blas.h"
#include "common/flat.cuh"
#include "kernels.h"
#include "kernels/compress_checks.h"

namespace osc {
namespace {

// u = I + N, an upper triangle; t = D above the diagonal, in the factor's order, columns of dead inputs zero.
template <class Real>
struct Prepare {
  const Real* cross;
  const float* factor;
  const int32_t* order;
  const uint8_t* dead;
  int64_t ldc, ldf, n;
  double scale;
  float *u, *t;
  __device__ void operator()(int64_t at) const {
    const int64_t i = at / n, j = at % n;
    u[at] = i < j ? factor[i * ldf + j] : i == j ? 1.0F : 0.0F;
    t[at] = i < j && !dead[order[j]] ? static_cast<float>(static_cast<double>(cross[order[i] * ldc + order[j]]) * scale) : 0.0F;
  }
};

struct Store {
  const float* t;
  const double* diagonal;
  int64_t ldm, n;
  double alpha;
  float* correction;
  __device__ void operator()(int64_t at) const {
    const int64_t i = at / n, j = at % n;
    correction[i * ldm + j] = i < j ? t[at] * static_cast<float>(alpha / (diagonal[j] * diagonal[j])) : 0.0F;
  }
};

template <class Real>
Status correct(const GptaqCorrectionArgs& args, const Context& context) {
  const int64_t n = args.cross.shape[0];
  DeviceBuffer<float> u(n * n), t(n * n);
  if (!u) return u.status();
  if (!t) return t.status();
  OSC_TRY(launch_each(Prepare<Real>{data<const Real>(args.cross), data<const float>(args.factor), data<const int32_t>(args.order),
                                    data<const uint8_t>(args.dead), args.cross.strides[0], args.factor.strides[0], n, args.scale,
                                    u.get(), t.get()},
                      n * n));
  if (cancelled(context)) return aborted();
  OSC_TRY(trsm(Side::kRight, Triangle::kUpper, Transpose::kYes, n, n, 1, u.get(), n, t.get(), n));
  OSC_TRY(launch_each(Store{t.get(), data<const double>(args.diagonal), args.correction.strides[0], n, args.alpha,
                            data<float>(args.correction)},
                      n * n));
  return cancelled(context) ? aborted() : ok();
}

}  // namespace

Status gptaq_correction(GptaqCorrectionArgs& args, const Context& context) {
  OSC_TRY(check(args));
  if (args.cross.shape[0] == 0) return ok();
  return args.cross.dtype == OSC_FLOAT64 ? correct<double>(args, context) : correct<float>(args, context);
}

}  // namespace osc
