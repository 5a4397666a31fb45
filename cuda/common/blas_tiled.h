// blas.h by kernels of our own, for machines without cuBLAS or cuSOLVER: plain tiles in shared memory, no tensor cores.
// Arguments are those of blas.h, not empty.
#pragma once
#include "common/blas.h"

namespace osc::tiled {

template <class T>
Status gemm_batched(Transpose ta, Transpose tb, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda,
                    int64_t stride_a, const T* b, int64_t ldb, int64_t stride_b, T beta, T* c, int64_t ldc, int64_t stride_c,
                    int64_t batch);
template <class T>
Status syrk(Transpose trans, int64_t n, int64_t k, T alpha, const T* a, int64_t lda, T beta, T* c, int64_t ldc);
template <class T>
Status trsm(Side side, Triangle triangle, Transpose trans, int64_t m, int64_t n, T alpha, const T* a, int64_t lda, T* b,
            int64_t ldb);
template <class T>
Status potrf(int64_t n, T* a, int64_t lda, int32_t* info);
// Diagonal blocks of trtri: the lower triangle of an n x n matrix, n <= 32.
template <class T>
Status invert_block(int64_t n, T* a, int64_t lda);

}  // namespace osc::tiled
