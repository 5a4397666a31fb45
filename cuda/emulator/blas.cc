// blas_library.h on the emulator: OpenBLAS, one thread, on the emulated memory.
#include "core/blas.h"

#include "common/blas_library.h"
#include "emulator/runtime.h"

extern "C" {
void ssyevd_(const char* jobz, const char* uplo, const int* n, float* a, const int* lda, float* w, float* work, const int* lwork,
             int* iwork, const int* liwork, int* info);
void dsyevd_(const char* jobz, const char* uplo, const int* n, double* a, const int* lda, double* w, double* work,
             const int* lwork, int* iwork, const int* liwork, int* info);
}

#include <memory>

namespace {

// Columns of LAPACK are rows of ours; y = alpha op(A) x + beta y as a product with one column. Increments are positive.
template <class T>
void gemv_by_gemm(const char* trans, const int* m, const int* n, const T* alpha, const T* a, const int* lda, const T* x,
                  const int* incx, const T* beta, T* y, const int* incy) {
  const bool plain = *trans == 'N' || *trans == 'n';
  const int rows = plain ? *m : *n, depth = plain ? *n : *m;
  if (rows == 0) return;
  osc::gemm(plain ? CblasTrans : CblasNoTrans, CblasNoTrans, rows, 1, depth, *alpha, a, *lda, x, *incx, *beta, y, *incy);
}

}  // namespace

// LAPACK's gemv, for syevd. OpenBLAS's own brings 12 KB of thread-local memory, and a library with initial-exec variables
// (scheduler.h) that asks for so much cannot be opened at run time.
extern "C" {
#define OSC_GEMV(name, T)                                                                                                \
  void name(const char* trans, const int* m, const int* n, const T* alpha, const T* a, const int* lda, const T* x,       \
            const int* incx, const T* beta, T* y, const int* incy) {                                                     \
    gemv_by_gemm(trans, m, n, alpha, a, lda, x, incx, beta, y, incy);                                                    \
  }
OSC_GEMV(sgemv_, float)
OSC_GEMV(dgemv_, double)
#undef OSC_GEMV
}

namespace osc::library {
namespace {

CBLAS_TRANSPOSE blas(Transpose trans) { return trans == Transpose::kYes ? CblasTrans : CblasNoTrans; }
CBLAS_SIDE blas(Side side) { return side == Side::kLeft ? CblasLeft : CblasRight; }
CBLAS_UPLO blas(Triangle triangle) { return triangle == Triangle::kLower ? CblasLower : CblasUpper; }

void solve(CBLAS_SIDE side, CBLAS_UPLO uplo, CBLAS_TRANSPOSE trans, int m, int n, float alpha, const float* a, int lda, float* b,
           int ldb) {
  cblas_strsm(CblasRowMajor, side, uplo, trans, CblasNonUnit, m, n, alpha, a, lda, b, ldb);
}
void solve(CBLAS_SIDE side, CBLAS_UPLO uplo, CBLAS_TRANSPOSE trans, int m, int n, double alpha, const double* a, int lda,
           double* b, int ldb) {
  cblas_dtrsm(CblasRowMajor, side, uplo, trans, CblasNonUnit, m, n, alpha, a, lda, b, ldb);
}
// LAPACK's columns are our rows, and its upper half our lower.
void eigen(int n, float* a, int lda, float* w, float* work, int lwork, int* iwork, int liwork, int* info) {
  ssyevd_("V", "U", &n, a, &lda, w, work, &lwork, iwork, &liwork, info);
}
void eigen(int n, double* a, int lda, double* w, double* work, int lwork, int* iwork, int liwork, int* info) {
  dsyevd_("V", "U", &n, a, &lda, w, work, &lwork, iwork, &liwork, info);
}

}  // namespace

bool has_blas() {
  static const bool ready = (initialize_blas(), true);
  return ready;
}
bool has_solver() { return has_blas(); }
const char* description() { return has_blas() ? blas_description() : ""; }

template <class T>
Status gemm_batched(Transpose ta, Transpose tb, int m, int n, int k, T alpha, const T* a, int lda, int64_t stride_a, const T* b,
                    int ldb, int64_t stride_b, T beta, T* c, int ldc, int64_t stride_c, int batch) {
  const emulator::DeviceAccess access;
  for (int z = 0; z < batch; ++z) {
    gemm(blas(ta), blas(tb), m, n, k, alpha, a + z * stride_a, lda, b + z * stride_b, ldb, beta, c + z * stride_c, ldc);
  }
  return ok();
}

template <class T>
Status syrk(Transpose trans, int n, int k, T alpha, const T* a, int lda, T beta, T* c, int ldc) {
  const emulator::DeviceAccess access;
  osc::syrk(blas(trans), n, k, alpha, a, lda, beta, c, ldc);
  return ok();
}

template <class T>
Status trsm(Side side, Triangle triangle, Transpose trans, int m, int n, T alpha, const T* a, int lda, T* b, int ldb) {
  const emulator::DeviceAccess access;
  solve(blas(side), blas(triangle), blas(trans), m, n, alpha, a, lda, b, ldb);
  return ok();
}

template <class T>
Status potrf(int n, T* a, int lda, int32_t* info) {
  const emulator::DeviceAccess access;
  *info = osc::potrf(n, a, lda);
  return ok();
}

template <class T>
Status syevd(int n, T* a, int lda, T* values, int32_t* info) {
  const emulator::DeviceAccess access;
  T best = 0;
  int best_int = 0;
  eigen(n, a, lda, values, &best, -1, &best_int, -1, info);
  const auto work = std::make_unique<T[]>(static_cast<size_t>(best) + 1);
  const auto int_work = std::make_unique<int[]>(static_cast<size_t>(best_int));
  eigen(n, a, lda, values, work.get(), static_cast<int>(best), int_work.get(), best_int, info);
  return ok();
}

#define OSC_INSTANTIATE(T)                                                                                          \
  template Status gemm_batched<T>(Transpose, Transpose, int, int, int, T, const T*, int, int64_t, const T*, int,    \
                                  int64_t, T, T*, int, int64_t, int);                                               \
  template Status syrk<T>(Transpose, int, int, T, const T*, int, T, T*, int);                                       \
  template Status trsm<T>(Side, Triangle, Transpose, int, int, T, const T*, int, T*, int);                          \
  template Status potrf<T>(int, T*, int, int32_t*);                                                                 \
  template Status syevd<T>(int, T*, int, T*, int32_t*);
OSC_INSTANTIATE(float)
OSC_INSTANTIATE(double)
#undef OSC_INSTANTIATE

}  // namespace osc::library
