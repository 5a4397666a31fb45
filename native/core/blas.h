// OpenBLAS, called with one thread per call: our own parallel_for cuts the work (see core/parallel.h).
// All matrices row-major. Thin overloads so that templates over float and double read the same.
#pragma once
#include <cblas.h>

#include <cstdint>

extern "C" {
void spotrf_(const char* uplo, const int* n, float* a, const int* lda, int* info);
void dpotrf_(const char* uplo, const int* n, double* a, const int* lda, int* info);
void dpotri_(const char* uplo, const int* n, double* a, const int* lda, int* info);
void strtri_(const char* uplo, const char* diag, const int* n, float* a, const int* lda, int* info);
void dtrtri_(const char* uplo, const char* diag, const int* n, double* a, const int* lda, int* info);
void ssytrd_(const char* uplo, const int* n, float* a, const int* lda, float* d, float* e, float* tau, float* work,
             const int* lwork, int* info);
void dsytrd_(const char* uplo, const int* n, double* a, const int* lda, double* d, double* e, double* tau, double* work,
             const int* lwork, int* info);
void sstedc_(const char* compz, const int* n, float* d, float* e, float* z, const int* ldz, float* work, const int* lwork,
             int* iwork, const int* liwork, int* info);
void dstedc_(const char* compz, const int* n, double* d, double* e, double* z, const int* ldz, double* work,
             const int* lwork, int* iwork, const int* liwork, int* info);
void sgeqrf_(const int* m, const int* n, float* a, const int* lda, float* tau, float* work, const int* lwork, int* info);
void dgeqrf_(const int* m, const int* n, double* a, const int* lda, double* tau, double* work, const int* lwork, int* info);
void sorgqr_(const int* m, const int* n, const int* k, float* a, const int* lda, const float* tau, float* work,
             const int* lwork, int* info);
void dorgqr_(const int* m, const int* n, const int* k, double* a, const int* lda, const double* tau, double* work,
             const int* lwork, int* info);
}

namespace osc {

// Once per process: OpenBLAS must not start threads of its own.
void initialize_blas();
const char* blas_description();

// C[m,n] = alpha op(A) op(B) + beta C.
inline void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
                 int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  cblas_sgemm(CblasRowMajor, ta, tb, static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), alpha, a,
              static_cast<int>(lda), b, static_cast<int>(ldb), beta, c, static_cast<int>(ldc));
}
inline void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int64_t m, int64_t n, int64_t k, double alpha, const double* a,
                 int64_t lda, const double* b, int64_t ldb, double beta, double* c, int64_t ldc) {
  cblas_dgemm(CblasRowMajor, ta, tb, static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), alpha, a,
              static_cast<int>(lda), b, static_cast<int>(ldb), beta, c, static_cast<int>(ldc));
}

// y[rows of op(A)] += alpha op(A) x, A stored as [m, n].
inline void gemv(CBLAS_TRANSPOSE ta, int64_t m, int64_t n, float alpha, const float* a, int64_t lda, const float* x,
                 int64_t incx, float* y, int64_t incy) {
  cblas_sgemv(CblasRowMajor, ta, static_cast<int>(m), static_cast<int>(n), alpha, a, static_cast<int>(lda), x,
              static_cast<int>(incx), 1.0F, y, static_cast<int>(incy));
}
inline void gemv(CBLAS_TRANSPOSE ta, int64_t m, int64_t n, double alpha, const double* a, int64_t lda, const double* x,
                 int64_t incx, double* y, int64_t incy) {
  cblas_dgemv(CblasRowMajor, ta, static_cast<int>(m), static_cast<int>(n), alpha, a, static_cast<int>(lda), x,
              static_cast<int>(incx), 1.0, y, static_cast<int>(incy));
}

// Lower half of C[n,n] = alpha op(A) op(A)^T + beta C, A[n,k] or its transpose.
inline void syrk(CBLAS_TRANSPOSE trans, int64_t n, int64_t k, float alpha, const float* a, int64_t lda, float beta,
                 float* c, int64_t ldc) {
  cblas_ssyrk(CblasRowMajor, CblasLower, trans, static_cast<int>(n), static_cast<int>(k), alpha, a,
              static_cast<int>(lda), beta, c, static_cast<int>(ldc));
}
inline void syrk(CBLAS_TRANSPOSE trans, int64_t n, int64_t k, double alpha, const double* a, int64_t lda, double beta,
                 double* c, int64_t ldc) {
  cblas_dsyrk(CblasRowMajor, CblasLower, trans, static_cast<int>(n), static_cast<int>(k), alpha, a,
              static_cast<int>(lda), beta, c, static_cast<int>(ldc));
}

// B[n, k] = op(T)^-1 B for a triangular T[n, n].
inline void trsm(CBLAS_UPLO half, CBLAS_TRANSPOSE trans, int64_t n, int64_t k, const float* t, int64_t ldt, float* b,
                 int64_t ldb) {
  cblas_strsm(CblasRowMajor, CblasLeft, half, trans, CblasNonUnit, static_cast<int>(n), static_cast<int>(k), 1.0F, t,
              static_cast<int>(ldt), b, static_cast<int>(ldb));
}
inline void trsm(CBLAS_UPLO half, CBLAS_TRANSPOSE trans, int64_t n, int64_t k, const double* t, int64_t ldt, double* b,
                 int64_t ldb) {
  cblas_dtrsm(CblasRowMajor, CblasLeft, half, trans, CblasNonUnit, static_cast<int>(n), static_cast<int>(k), 1.0, t,
              static_cast<int>(ldt), b, static_cast<int>(ldb));
}

// B[n, k] = op(L) B for a lower triangular L[n, n].
inline void trmm(CBLAS_TRANSPOSE trans, int64_t n, int64_t k, const float* l, int64_t ldl, float* b, int64_t ldb) {
  cblas_strmm(CblasRowMajor, CblasLeft, CblasLower, trans, CblasNonUnit, static_cast<int>(n), static_cast<int>(k), 1.0F, l,
              static_cast<int>(ldl), b, static_cast<int>(ldb));
}
inline void trmm(CBLAS_TRANSPOSE trans, int64_t n, int64_t k, const double* l, int64_t ldl, double* b, int64_t ldb) {
  cblas_dtrmm(CblasRowMajor, CblasLeft, CblasLower, trans, CblasNonUnit, static_cast<int>(n), static_cast<int>(k), 1.0, l,
              static_cast<int>(ldl), b, static_cast<int>(ldb));
}

// Cholesky A = L L^T of the lower half, in place. Returns 0, or the 1-based order of the leading minor that failed.
// LAPACK is column-major: our row-major lower half is its upper half of the same symmetric matrix.
inline int potrf(int64_t n, float* a, int64_t lda) {
  const int order = static_cast<int>(n), stride = static_cast<int>(lda);
  int info = 0;
  spotrf_("U", &order, a, &stride, &info);
  return info;
}
inline int potrf(int64_t n, double* a, int64_t lda) {
  const int order = static_cast<int>(n), stride = static_cast<int>(lda);
  int info = 0;
  dpotrf_("U", &order, a, &stride, &info);
  return info;
}

// Inverse of a lower triangular matrix, in place; the diagonal has no zero.
inline void invert_lower(int64_t n, float* a, int64_t lda) {
  const int order = static_cast<int>(n), stride = static_cast<int>(lda);
  int info = 0;
  strtri_("U", "N", &order, a, &stride, &info);
}
inline void invert_lower(int64_t n, double* a, int64_t lda) {
  const int order = static_cast<int>(n), stride = static_cast<int>(lda);
  int info = 0;
  dtrtri_("U", "N", &order, a, &stride, &info);
}

// Inverse of A = L L^T from its factor L, both in the lower half. After potrf.
inline void potri(int64_t n, double* a, int64_t lda) {
  const int order = static_cast<int>(n), stride = static_cast<int>(lda);
  int info = 0;
  dpotri_("U", &order, a, &stride, &info);
}

// Lower half of A[n,n] += alpha x x^T.
inline void syr(int64_t n, double alpha, const double* x, double* a, int64_t lda) {
  cblas_dsyr(CblasRowMajor, CblasLower, static_cast<int>(n), alpha, x, 1, a, static_cast<int>(lda));
}

// Householder reduction of a symmetric matrix to a tridiagonal one with diagonal d[n] and beside it e[n - 1]; a is replaced:
// see dense/tridiagonal.h. work: 64 n numbers.
inline void sytrd(int64_t n, float* a, int64_t lda, float* d, float* e, float* tau, float* work) {
  const int order = static_cast<int>(n), stride = static_cast<int>(lda), count = 64 * order;
  int info = 0;
  ssytrd_("L", &order, a, &stride, d, e, tau, work, &count, &info);
}
inline void sytrd(int64_t n, double* a, int64_t lda, double* d, double* e, double* tau, double* work) {
  const int order = static_cast<int>(n), stride = static_cast<int>(lda), count = 64 * order;
  int info = 0;
  dsytrd_("L", &order, a, &stride, d, e, tau, work, &count, &info);
}

// Eigenvalues (ascending, into d) and eigenvectors (the rows of z) of a tridiagonal matrix, by divide and conquer; e is
// destroyed. Returns 0, or a positive number when an eigenvalue was not found. work: 1 + 4 n + n^2 numbers, iwork: 3 + 5 n.
inline int stedc(int64_t n, float* d, float* e, float* z, int64_t ldz, float* work, int* iwork) {
  const int order = static_cast<int>(n), stride = static_cast<int>(ldz);
  const int count = 1 + 4 * order + order * order, integers = 3 + 5 * order;
  int info = 0;
  sstedc_("I", &order, d, e, z, &stride, work, &count, iwork, &integers, &info);
  return info;
}
inline int stedc(int64_t n, double* d, double* e, double* z, int64_t ldz, double* work, int* iwork) {
  const int order = static_cast<int>(n), stride = static_cast<int>(ldz);
  const int count = 1 + 4 * order + order * order, integers = 3 + 5 * order;
  int info = 0;
  dstedc_("I", &order, d, e, z, &stride, work, &count, iwork, &integers, &info);
  return info;
}

// Rows of a[m, n], m <= n, replaced by orthonormal ones: row i is in the span of the first i + 1 rows, whatever their rank
// (Householder QR of a^T). tau: m numbers, work: 64 m.
inline void orthonormalize(int64_t m, int64_t n, float* a, int64_t lda, float* tau, float* work) {
  const int columns = static_cast<int>(m), rows = static_cast<int>(n), stride = static_cast<int>(lda), count = 64 * columns;
  int info = 0;
  sgeqrf_(&rows, &columns, a, &stride, tau, work, &count, &info);
  sorgqr_(&rows, &columns, &columns, a, &stride, tau, work, &count, &info);
}
inline void orthonormalize(int64_t m, int64_t n, double* a, int64_t lda, double* tau, double* work) {
  const int columns = static_cast<int>(m), rows = static_cast<int>(n), stride = static_cast<int>(lda), count = 64 * columns;
  int info = 0;
  dgeqrf_(&rows, &columns, a, &stride, tau, work, &count, &info);
  dorgqr_(&rows, &columns, &columns, a, &stride, tau, work, &count, &info);
}

}  // namespace osc
