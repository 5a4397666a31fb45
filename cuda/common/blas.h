// Dense linear algebra on device memory: row-major matrices, float and double, enqueued on the one stream.
//
// cuBLAS and cuSOLVER do the work where they were found at run time, OpenBLAS on the emulator, and tiled kernels of our own
// (blas_tiled.h) where there is no library or OSCULATE_DEVICE_BLAS=tiled asks for them. syevd has no version of ours: without
// cuSOLVER it is UNSUPPORTED with the reason. Each dimension is below 2^31; zero sizes are fine. beta = 0 does not read c.
#pragma once
#include <cstdint>

#include "core/status.h"

namespace osc {

enum class Transpose { kNo, kYes };
enum class Side { kLeft, kRight };
enum class Triangle { kLower, kUpper };

namespace detail {
template <class T>
struct Scalar {
  using type = T;  // so that `1` can be written for a float
};
}  // namespace detail
template <class T>
using ScalarOf = typename detail::Scalar<T>::type;

// C[m,n] = alpha op(A) op(B) + beta C, op(A) [m,k], op(B) [k,n].
template <class T>
Status gemm(Transpose ta, Transpose tb, int64_t m, int64_t n, int64_t k, ScalarOf<T> alpha, const T* a, int64_t lda,
            const T* b, int64_t ldb, ScalarOf<T> beta, T* c, int64_t ldc);

// The same for `batch` triples, each a stride further; a stride of 0 uses one matrix for all.
template <class T>
Status gemm_batched(Transpose ta, Transpose tb, int64_t m, int64_t n, int64_t k, ScalarOf<T> alpha, const T* a, int64_t lda,
                    int64_t stride_a, const T* b, int64_t ldb, int64_t stride_b, ScalarOf<T> beta, T* c, int64_t ldc,
                    int64_t stride_c, int64_t batch);

// Lower half of C[n,n] = alpha op(A) op(A)^T + beta C, op(A) [n,k]. The upper half is not touched.
template <class T>
Status syrk(Transpose trans, int64_t n, int64_t k, ScalarOf<T> alpha, const T* a, int64_t lda, ScalarOf<T> beta, T* c,
            int64_t ldc);

// B[m,n] becomes alpha op(A)^-1 B (kLeft, A [m,m]) or alpha B op(A)^-1 (kRight, A [n,n]); only the named triangle of A is read.
template <class T>
Status trsm(Side side, Triangle triangle, Transpose trans, int64_t m, int64_t n, ScalarOf<T> alpha, const T* a, int64_t lda,
            T* b, int64_t ldb);

// Cholesky A = L L^T of the lower half, in place; the upper half is not touched. *info, on the device: 0, or the 1-based order
// of the leading minor that failed; then the lower half is undefined.
template <class T>
Status potrf(int64_t n, T* a, int64_t lda, int32_t* info);

// Inverse of the lower triangle, in place; the upper half is neither read nor written, the diagonal has no zero.
template <class T>
Status trtri(int64_t n, T* a, int64_t lda);

// Eigenvalues of the symmetric A (its lower half is read), ascending, and eigenvectors in the rows of A: row i belongs to
// values[i]. *info, on the device: 0, or non-zero when the iteration did not converge.
template <class T>
Status syevd(int64_t n, T* a, int64_t lda, T* values, int32_t* info);

// Which library answers, with its version, or why none does. For `osculate inspect`.
const char* device_blas_description();

}  // namespace osc
