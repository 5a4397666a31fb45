#include "common/blas.h"
#include "kernels/matmul_shape.h"
#include "kernels/strided.h"

namespace osc {
namespace {

Transpose op_of(const BlasMatrix& matrix) { return matrix.transposed ? Transpose::kYes : Transpose::kNo; }

Tensor batch_of(const Tensor& t, int rank) {
  Tensor batch = t;
  batch.rank = rank;
  return batch;
}

}  // namespace

Status matmul(MatmulArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const MatmulShape shape(args);
  const Tensor a = batch_of(args.a, shape.batch_rank), b = batch_of(args.b, shape.batch_rank);
  const Tensor c = batch_of(args.c, shape.batch_rank);
  const int64_t batch = size_of(c);
  if (batch == 0 || shape.m == 0 || shape.n == 0) return ok();
  // One call for all matrices that lie evenly apart.
  const Walk<3> walk({&a, &b, &c});
  return with_real(c.dtype, [&](auto zero) {
    using E = decltype(zero);
    Status status = ok();
    walk.each_run(0, batch, batch, [&](int64_t, int64_t count, const int64_t* at) {
      if (status.code != OSC_OK) return;
      if (cancelled(context)) status = aborted();
      else
        status = gemm_batched<E>(op_of(shape.a), op_of(shape.b), shape.m, shape.n, shape.k, static_cast<E>(args.alpha),
                                 data<E>(a) + at[0], shape.a.ld, walk.inner_stride(0), data<E>(b) + at[1], shape.b.ld,
                                 walk.inner_stride(1), static_cast<E>(args.beta), data<E>(c) + at[2], shape.c.ld,
                                 walk.inner_stride(2), count);
    });
    return status;
  });
}

}  // namespace osc
