#include <cmath>

#include "common/flat.cuh"
#include "kernels.h"
#include "kernels/compress_checks.h"

namespace osc {
namespace {

constexpr int kRunThreads = 256;
constexpr int64_t kSharedBytes = 64 * 1024;  // of a run

// A run of `block` columns: butterflies at distances m, 2m, 4m, .. and a product with B or its transpose for every m numbers.
struct Rotation {
  int64_t block, m;
  const float *signs, *base;  // or null
  bool inverse;
  double scale;  // 1 / sqrt(block)
};

template <class Real>
__device__ Real sign_before(const Rotation& r, int64_t column) {
  return r.signs && !r.inverse ? static_cast<Real>(r.signs[column]) : Real(1);
}

template <class Real>
__device__ Real factor_after(const Rotation& r, int64_t column) {
  const Real scale = static_cast<Real>(r.scale);
  return r.signs && r.inverse ? scale * static_cast<Real>(r.signs[column]) : scale;
}

// Element q of the product of the m numbers at x with B; the sum in the order of the CPU's.
template <class Real>
__device__ Real times_base(const Rotation& r, const Real* x, int64_t q) {
  Real sum = 0;
  for (int64_t p = 0; p < r.m; ++p) sum += x[p] * static_cast<Real>(r.inverse ? r.base[q * r.m + p] : r.base[p * r.m + q]);
  return sum;
}

template <class Real>
__device__ void butterfly(Real* x, int64_t pair, int64_t h) {
  Real *a = x + pair / h * 2 * h + pair % h, *b = a + h;
  const Real sum = *a + *b, difference = *a - *b;
  *a = sum;
  *b = difference;
}

// A block a run, in shared memory; y may be x.
template <class Real>
OSC_GLOBAL rotate_runs(const Real* x, int64_t stride, int64_t n, Rotation r, Real* y) {
  Real* run = dynamic_shared<Real>();
  const int64_t runs = n / r.block, row = blockIdx.x / runs, first = blockIdx.x % runs * r.block;
  for (int64_t j = threadIdx.x; j < r.block; j += kRunThreads) run[j] = x[row * stride + first + j] * sign_before<Real>(r, first + j);
  __syncthreads();
  for (int64_t h = r.m; h < r.block; h *= 2) {
    for (int64_t pair = threadIdx.x; pair < r.block / 2; pair += kRunThreads) butterfly(run, pair, h);
    __syncthreads();
  }
  for (int64_t j = threadIdx.x; j < r.block; j += kRunThreads) {
    const Real value = r.base ? times_base(r, run + j / r.m * r.m, j % r.m) : run[j];
    y[row * n + first + j] = value * factor_after<Real>(r, first + j);
  }
}

// The same for runs that do not fit, a launch a distance.
template <class Real>
struct Begin {
  const Real* x;
  int64_t stride, n;
  Rotation r;
  Real* y;
  __device__ void operator()(int64_t at) const { y[at] = x[at / n * stride + at % n] * sign_before<Real>(r, at % n); }
};
template <class Real>
struct Butterflies {
  int64_t h;
  Real* y;
  __device__ void operator()(int64_t pair) const { butterfly(y, pair, h); }
};
template <class Real>
struct Finish {
  const Real* from;
  int64_t n;
  Rotation r;
  Real* y;
  __device__ void operator()(int64_t at) const {
    const Real value = r.base ? times_base(r, from + at / r.m * r.m, at % r.m) : from[at];
    y[at] = value * factor_after<Real>(r, at % n);
  }
};

template <class Real>
Status rotate_long(const Real* x, int64_t stride, int64_t rows, int64_t n, const Rotation& r, Real* y, const Context& context) {
  const int64_t size = rows * n;
  DeviceBuffer<Real> copy(r.base ? size : 0);
  if (!copy) return copy.status();
  Real* work = r.base ? copy.get() : y;
  OSC_TRY(launch_each(Begin<Real>{x, stride, n, r, work}, size));
  for (int64_t h = r.m; h < r.block; h *= 2) {
    if (cancelled(context)) return aborted();
    OSC_TRY(launch_each(Butterflies<Real>{h, work}, size / 2));  // runs are whole: a pair never leaves its run
  }
  return launch_each(Finish<Real>{work, n, r, y}, size);
}

template <class Real>
Status rotate(const FwhtArgs& args, const Context& context) {
  const int64_t rows = args.x.shape[0], n = args.x.shape[1], block = args.block;
  if (rows == 0 || n == 0) return ok();
  const float* base = args.base.data ? data<const float>(args.base) : nullptr;
  const Rotation r{block, base ? args.base.shape[0] : 1, args.signs.data ? data<const float>(args.signs) : nullptr, base,
                   args.inverse != 0, 1.0 / std::sqrt(static_cast<double>(block))};
  const Real* x = data<const Real>(args.x);
  Real* y = data<Real>(args.y);
  const int64_t bytes = block * static_cast<int64_t>(sizeof(Real));
  if (bytes > kSharedBytes) return rotate_long(x, args.x.strides[0], rows, n, r, y, context);
  return launch(rotate_runs<Real>, dim3(static_cast<unsigned>(rows * (n / block))), dim3(kRunThreads), static_cast<size_t>(bytes), x,
                args.x.strides[0], n, r, y);
}

}  // namespace

Status fwht(FwhtArgs& args, const Context& context) {
  OSC_TRY(check(args));
  return args.x.dtype == OSC_FLOAT32 ? rotate<float>(args, context) : rotate<double>(args, context);
}

}  // namespace osc
