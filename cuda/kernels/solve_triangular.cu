#include "common/blas.h"
#include "common/triangle.cuh"
#include "kernels.h"
#include "kernels/dense_checks.h"

namespace osc {
namespace {

// Small systems, a thread a right-hand side. x [n, k]; element (i, j) of op(T) is t[i * across + j * down].
template <class Real>
OSC_GLOBAL solve_small(const Real* t, const Real* b, int64_t n, int64_t k, int64_t batch, bool downward, int64_t across,
                       int64_t down, Real* x) {
  const int64_t at = global_thread(), item = at / k, column = at % k;
  if (item >= batch) return;
  t += item * n * n;
  b += item * n * k + column;
  x += item * n * k + column;
  for (int64_t step = 0; step < n; ++step) {
    const int64_t i = downward ? step : n - 1 - step;
    Real sum = b[i * k];
    for (int64_t before = 0; before < step; ++before) {
      const int64_t j = downward ? before : n - 1 - before;
      sum -= t[i * across + j * down] * x[j * k];
    }
    x[i * k] = sum / t[i * across + i * down];
  }
}

template <class Real>
Status solve(const SolveTriangularArgs& args, int64_t n, int64_t k, int64_t batch, const Context& context) {
  const Real *t = data<const Real>(args.triangle), *b = data<const Real>(args.b);
  Real* x = data<Real>(args.x);
  OSC_TRY(check_diagonal(t, n, batch));
  const bool upper = args.upper != 0, transposed = args.transposed != 0;
  if (n <= kSmall) {
    return launch(solve_small<Real>, dim3(static_cast<unsigned>(blocks_for(batch * k, 128))), dim3(128), 0, t, b, n, k, batch,
                  upper == transposed, transposed ? 1 : n, transposed ? n : 1, x);
  }
  OSC_TRY(copy_on_device(x, b, batch * n * k * static_cast<int64_t>(sizeof(Real))));
  for (int64_t item = 0; item < batch; ++item) {
    if (cancelled(context)) return aborted();
    OSC_TRY(trsm(Side::kLeft, upper ? Triangle::kUpper : Triangle::kLower, transposed ? Transpose::kYes : Transpose::kNo, n, k, 1,
                 t + item * n * n, n, x + item * n * k, k));
  }
  return cancelled(context) ? aborted() : ok();
}

}  // namespace

Status solve_triangular(SolveTriangularArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const int64_t n = order_of(args.triangle), k = order_of(args.b), batch = batch_of(args.triangle);
  if (n == 0 || k == 0 || batch == 0) return ok();
  return args.triangle.dtype == OSC_FLOAT32 ? solve<float>(args, n, k, batch, context) : solve<double>(args, n, k, batch, context);
}

}  // namespace osc
