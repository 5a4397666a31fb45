#include <algorithm>
#include <cmath>
#include <vector>

#include "../core/parallel.h"
#include "../kernels.h"
#include "compress_checks.h"

namespace osc {
namespace {

// x [block] times H_{block / m} (x) I_m: butterflies at distances m, 2m, 4m, ...
template <class Real>
void butterflies(Real* x, int64_t block, int64_t m) {
  for (int64_t h = m; h < block; h *= 2) {
    for (int64_t start = 0; start < block; start += 2 * h) {
      Real *__restrict a = x + start, *__restrict b = a + h;
      for (int64_t i = 0; i < h; ++i) {
        const Real sum = a[i] + b[i], difference = a[i] - b[i];
        a[i] = sum;
        b[i] = difference;
      }
    }
  }
}

// Each run of m numbers times B, or its transpose.
template <class Real>
void multiply_base(Real* x, int64_t block, const float* base, int64_t m, bool transposed, Real* run) {
  for (int64_t start = 0; start < block; start += m) {
    std::copy_n(x + start, m, run);
    std::fill_n(x + start, m, Real(0));
    for (int64_t p = 0; p < m; ++p) {
      for (int64_t q = 0; q < m; ++q) x[start + q] += run[p] * static_cast<Real>(transposed ? base[q * m + p] : base[p * m + q]);
    }
  }
}

template <class Real>
Status rotate(FwhtArgs& args, const Context& context) {
  const int64_t rows = args.x.shape[0], n = args.x.shape[1], block = args.block;
  const int64_t m = args.base.data ? args.base.shape[0] : 1;
  const float *signs = data<float>(args.signs), *base = data<float>(args.base);
  const Real scale = static_cast<Real>(1.0 / std::sqrt(static_cast<double>(block)));
  const int64_t per_tile = std::max<int64_t>(1, 65536 / std::max<int64_t>(n, 1));
  const bool done = parallel_for((rows + per_tile - 1) / per_tile, context, [&](int64_t tile) {
    std::vector<Real> run(static_cast<size_t>(m));
    for (int64_t r = tile * per_tile; r < std::min(rows, (tile + 1) * per_tile); ++r) {
      const Real* source = data<Real>(args.x) + r * args.x.strides[0];
      Real* target = data<Real>(args.y) + r * n;
      for (int64_t j = 0; j < n; ++j) target[j] = signs && !args.inverse ? source[j] * static_cast<Real>(signs[j]) : source[j];
      for (int64_t start = 0; start < n; start += block) {
        butterflies(target + start, block, m);
        if (base) multiply_base(target + start, block, base, m, args.inverse != 0, run.data());
      }
      for (int64_t j = 0; j < n; ++j) target[j] *= signs && args.inverse ? scale * static_cast<Real>(signs[j]) : scale;
    }
  });
  return done ? ok() : aborted();
}

}  // namespace

Status fwht(FwhtArgs& args, const Context& context) {
  OSC_TRY(check(args));
  return args.x.dtype == OSC_FLOAT32 ? rotate<float>(args, context) : rotate<double>(args, context);
}

}  // namespace osc
