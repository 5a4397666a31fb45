#include "common/blas.h"
#include "common/finite.cuh"
#include "kernels.h"
#include "kernels/checks.h"

namespace osc {
namespace {

constexpr int kSide = 32;

// matrix = scale * (accumulator + product), the lower half mirrored; product may be null. Tiles on and below the diagonal.
template <class Real>
OSC_GLOBAL scale_and_mirror(const Real* accumulator, const float* product, double scale, int64_t n, Real* matrix) {
  if (blockIdx.x > blockIdx.y) return;
  OSC_SHARED(Real, tile, [kSide][kSide + 1]);
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * kSide, column0 = static_cast<int64_t>(blockIdx.x) * kSide;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = static_cast<int>(threadIdx.y); i < kSide; i += static_cast<int>(blockDim.y)) {
    const int64_t row = row0 + i, column = column0 + lane;
    if (row >= n || column > row) continue;
    Real sum = accumulator[row * n + column];
    if (product) sum += static_cast<Real>(product[row * n + column]);
    const Real value = static_cast<Real>(scale * static_cast<double>(sum));
    matrix[row * n + column] = value;
    tile[i][lane] = value;
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.y); i < kSide; i += static_cast<int>(blockDim.y)) {
    const int64_t row = column0 + i, column = row0 + lane;
    if (column < n && row < column) matrix[row * n + column] = tile[lane][i];
  }
}

template <class Real>
Status make_matrix(const GramMatrixArgs& args, int64_t n, const Context& context) {
  const float* staging = data<const float>(args.staging);
  DeviceBuffer<float> product(args.staged > 0 ? n * n : 0);
  if (!product) return product.status();
  if (args.staged > 0) {
    int64_t bad;
    OSC_TRY(first_non_finite(staging, args.staged, n, n, &bad));
    if (bad >= 0) return fail(OSC_NON_FINITE, 0, "a staged token is not finite");
    OSC_TRY(syrk(Transpose::kYes, n, args.staged, 1.0F, staging, n, 0.0F, product.get(), n));
    if (cancelled(context)) return aborted();
  }
  const unsigned tiles = static_cast<unsigned>(blocks_for(n, kSide));
  return launch(scale_and_mirror<Real>, dim3(tiles, tiles), dim3(kSide, 8), 0, data<const Real>(args.accumulator),
                args.staged > 0 ? product.get() : nullptr, args.scale, n, data<Real>(args.matrix));
}

}  // namespace

Status gram_matrix(GramMatrixArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const int64_t n = args.matrix.shape[0];
  if (n == 0) return ok();
  return args.matrix.dtype == OSC_FLOAT64 ? make_matrix<double>(args, n, context) : make_matrix<float>(args, n, context);
}

}  // namespace osc
