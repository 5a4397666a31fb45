#include "common/blas.h"

#include <cstdlib>
#include <cstring>
#include <limits>

#include "common/blas_library.h"
#include "common/blas_tiled.h"
#include "common/gpu.cuh"
#include "common/memory.h"

namespace osc {
namespace {

bool tiled_wanted() {
  static const bool wanted = [] {
    const char* choice = std::getenv("OSCULATE_DEVICE_BLAS");
    return choice && std::strcmp(choice, "tiled") == 0;
  }();
  return wanted;
}

bool use_blas() { return !tiled_wanted() && library::has_blas(); }
bool use_solver() { return !tiled_wanted() && library::has_solver(); }

// The libraries count in int.
template <class... Sizes>
Status check_sizes(Sizes... sizes) {
  for (const int64_t size : {static_cast<int64_t>(sizes)...}) {
    if (size < 0 || size > std::numeric_limits<int>::max()) {
      return fail(OSC_ARGUMENT, 0, "a matrix dimension of %lld", static_cast<long long>(size));
    }
  }
  return ok();
}

int narrow(int64_t size) { return static_cast<int>(size); }

}  // namespace

template <class T>
Status gemm_batched(Transpose ta, Transpose tb, int64_t m, int64_t n, int64_t k, ScalarOf<T> alpha, const T* a, int64_t lda,
                    int64_t stride_a, const T* b, int64_t ldb, int64_t stride_b, ScalarOf<T> beta, T* c, int64_t ldc,
                    int64_t stride_c, int64_t batch) {
  OSC_TRY(check_sizes(m, n, k, lda, ldb, ldc, batch));
  if (m == 0 || n == 0 || batch == 0) return ok();
  // An empty product still scales c, which libraries are not asked to do with leading dimensions of 0.
  if (k == 0 || !use_blas()) {
    return tiled::gemm_batched(ta, tb, m, n, k, alpha, a, lda, stride_a, b, ldb, stride_b, beta, c, ldc, stride_c, batch);
  }
  return library::gemm_batched(ta, tb, narrow(m), narrow(n), narrow(k), alpha, a, narrow(lda), stride_a, b, narrow(ldb),
                               stride_b, beta, c, narrow(ldc), stride_c, narrow(batch));
}

template <class T>
Status gemm(Transpose ta, Transpose tb, int64_t m, int64_t n, int64_t k, ScalarOf<T> alpha, const T* a, int64_t lda,
            const T* b, int64_t ldb, ScalarOf<T> beta, T* c, int64_t ldc) {
  return gemm_batched<T>(ta, tb, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1);
}

template <class T>
Status syrk(Transpose trans, int64_t n, int64_t k, ScalarOf<T> alpha, const T* a, int64_t lda, ScalarOf<T> beta, T* c,
            int64_t ldc) {
  OSC_TRY(check_sizes(n, k, lda, ldc));
  if (n == 0) return ok();
  if (k == 0 || !use_blas()) return tiled::syrk(trans, n, k, alpha, a, lda, beta, c, ldc);
  return library::syrk(trans, narrow(n), narrow(k), alpha, a, narrow(lda), beta, c, narrow(ldc));
}

template <class T>
Status trsm(Side side, Triangle triangle, Transpose trans, int64_t m, int64_t n, ScalarOf<T> alpha, const T* a, int64_t lda,
            T* b, int64_t ldb) {
  OSC_TRY(check_sizes(m, n, lda, ldb));
  if (m == 0 || n == 0) return ok();
  if (!use_blas()) return tiled::trsm(side, triangle, trans, m, n, alpha, a, lda, b, ldb);
  return library::trsm(side, triangle, trans, narrow(m), narrow(n), alpha, a, narrow(lda), b, narrow(ldb));
}

template <class T>
Status potrf(int64_t n, T* a, int64_t lda, int32_t* info) {
  OSC_TRY(check_sizes(n, lda));
  if (n == 0) return set_zero(info, sizeof *info);
  return use_solver() ? library::potrf(narrow(n), a, narrow(lda), info) : tiled::potrf(n, a, lda, info);
}

// With A = [A11 0; A21 A22] the block below the diagonal of the inverse is -A22^-1 A21 A11^-1.
template <class T>
Status trtri(int64_t n, T* a, int64_t lda) {
  OSC_TRY(check_sizes(n, lda));
  constexpr int64_t kBlock = 32;
  if (n == 0) return ok();
  if (n <= kBlock) return tiled::invert_block(n, a, lda);
  const int64_t first = blocks_for(blocks_for(n, kBlock), 2) * kBlock, second = n - first;
  T *a21 = a + first * lda, *a22 = a21 + first;
  OSC_TRY(trsm<T>(Side::kRight, Triangle::kLower, Transpose::kNo, second, first, T(-1), a, lda, a21, lda));
  OSC_TRY(trsm<T>(Side::kLeft, Triangle::kLower, Transpose::kNo, second, first, T(1), a22, lda, a21, lda));
  OSC_TRY(trtri(first, a, lda));
  return trtri(second, a22, lda);
}

template <class T>
Status syevd(int64_t n, T* a, int64_t lda, T* values, int32_t* info) {
  OSC_TRY(check_sizes(n, lda));
  if (n == 0) return set_zero(info, sizeof *info);
  if (!use_solver()) return fail(OSC_UNSUPPORTED, 0, "eigenvalues need cuSOLVER: %s", device_blas_description());
  return library::syevd(narrow(n), a, narrow(lda), values, info);
}

const char* device_blas_description() {
  return tiled_wanted() ? "kernels of ours, asked for by OSCULATE_DEVICE_BLAS" : library::description();
}

#define OSC_INSTANTIATE(T)                                                                                                  \
  template Status gemm<T>(Transpose, Transpose, int64_t, int64_t, int64_t, T, const T*, int64_t, const T*, int64_t, T, T*,  \
                          int64_t);                                                                                         \
  template Status gemm_batched<T>(Transpose, Transpose, int64_t, int64_t, int64_t, T, const T*, int64_t, int64_t, const T*, \
                                  int64_t, int64_t, T, T*, int64_t, int64_t, int64_t);                                      \
  template Status syrk<T>(Transpose, int64_t, int64_t, T, const T*, int64_t, T, T*, int64_t);                               \
  template Status trsm<T>(Side, Triangle, Transpose, int64_t, int64_t, T, const T*, int64_t, T*, int64_t);                  \
  template Status potrf<T>(int64_t, T*, int64_t, int32_t*);                                                                 \
  template Status trtri<T>(int64_t, T*, int64_t);                                                                           \
  template Status syevd<T>(int64_t, T*, int64_t, T*, int32_t*);
OSC_INSTANTIATE(float)
OSC_INSTANTIATE(double)
#undef OSC_INSTANTIATE

}  // namespace osc
