// The library behind blas.h: cublas.cu under nvcc, emulator/blas.cc under g++. Arguments are those of blas.h, not empty, and
// below 2^31.
#pragma once
#include "common/blas.h"

namespace osc::library {

// Opened at the first call. solver: whether there is a potrf and a syevd.
bool has_blas();
bool has_solver();
const char* description();

template <class T>
Status gemm_batched(Transpose ta, Transpose tb, int m, int n, int k, T alpha, const T* a, int lda, int64_t stride_a, const T* b,
                    int ldb, int64_t stride_b, T beta, T* c, int ldc, int64_t stride_c, int batch);
template <class T>
Status syrk(Transpose trans, int n, int k, T alpha, const T* a, int lda, T beta, T* c, int ldc);
template <class T>
Status trsm(Side side, Triangle triangle, Transpose trans, int m, int n, T alpha, const T* a, int lda, T* b, int ldb);
template <class T>
Status potrf(int n, T* a, int lda, int32_t* info);
template <class T>
Status syevd(int n, T* a, int lda, T* values, int32_t* info);

}  // namespace osc::library
