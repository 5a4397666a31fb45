#include "common/blas_tiled.h"

#include <algorithm>

#include "common/gpu.cuh"
#include "common/memory.h"

namespace osc::tiled {
namespace {

// Any layout: element (i, j) is data[i * row + j * column]. Transposition swaps the strides, and a matrix read from its last
// element backwards has negative ones, so one kernel serves every variant.
template <class T>
struct Strided {
  T* data;
  int64_t row, column;
  OSC_HOST_DEVICE T& at(int64_t i, int64_t j) const { return data[i * row + j * column]; }
  Strided transposed() const { return {data, column, row}; }
  Strided from(int64_t i, int64_t j) const { return {data + i * row + j * column, row, column}; }
  Strided reversed(int64_t rows, int64_t columns) const {
    return {data + (rows - 1) * row + (columns - 1) * column, -row, -column};
  }
};

template <class T>
Strided<T> matrix(Transpose trans, T* data, int64_t stride) {
  const Strided<T> plain{data, stride, 1};
  return trans == Transpose::kYes ? plain.transposed() : plain;
}

// ---- products: 64 x 64 of C a block of 16 x 16 threads, 4 x 4 a thread, 16 columns of A at a time

constexpr int kTile = 64, kDepth = 16, kEach = 4, kThreads = 256;

template <class T>
struct Product {
  int64_t m, n, k;
  T alpha, beta;
  Strided<const T> a, b;
  Strided<T> c;
  int64_t stride_a, stride_b, stride_c;  // from one matrix of a batch to the next
  bool lower;                            // only i >= j of C
};

// A tile [kDepth][kTile] of `source`, whose element (i, k) goes to tile[k][i]; zero outside. Neighbouring threads read
// neighbouring addresses whichever way the matrix lies.
template <class T>
__device__ void load_tile(T (&tile)[kDepth][kTile + kEach], const Strided<const T>& source, int64_t i0, int64_t rows,
                          int64_t k0, int64_t depth) {
  const bool along_depth = source.column == 1 || source.column == -1;
  for (int e = static_cast<int>(threadIdx.x); e < kTile * kDepth; e += kThreads) {
    const int i = along_depth ? e / kDepth : e % kTile, k = along_depth ? e % kDepth : e / kTile;
    tile[k][i] = i0 + i < rows && k0 + k < depth ? source.at(i0 + i, k0 + k) : T(0);
  }
}

template <class T>
OSC_GLOBAL __launch_bounds__(kThreads) multiply(Product<T> p) {
  OSC_SHARED(T, a_tile, [kDepth][kTile + kEach]);
  OSC_SHARED(T, b_tile, [kDepth][kTile + kEach]);
  const int64_t i0 = int64_t{blockIdx.x} * kTile, j0 = int64_t{blockIdx.y} * kTile;
  if (p.lower && j0 >= i0 + kTile) return;  // all threads of the block
  const int64_t z = blockIdx.z;
  const Strided<const T> a{p.a.data + z * p.stride_a, p.a.row, p.a.column};
  const Strided<const T> b{p.b.data + z * p.stride_b, p.b.column, p.b.row};  // by columns
  const int row = static_cast<int>(threadIdx.x) / 16 * kEach, column = static_cast<int>(threadIdx.x) % 16 * kEach;
  T sum[kEach][kEach] = {};
  for (int64_t k0 = 0; k0 < p.k; k0 += kDepth) {
    load_tile(a_tile, a, i0, p.m, k0, p.k);
    load_tile(b_tile, b, j0, p.n, k0, p.k);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      for (int i = 0; i < kEach; ++i) {
        for (int j = 0; j < kEach; ++j) sum[i][j] += a_tile[k][row + i] * b_tile[k][column + j];
      }
    }
    __syncthreads();
  }
  T* const c = p.c.data + z * p.stride_c;
  for (int i = 0; i < kEach; ++i) {
    for (int j = 0; j < kEach; ++j) {
      const int64_t at_i = i0 + row + i, at_j = j0 + column + j;
      if (at_i >= p.m || at_j >= p.n || (p.lower && at_j > at_i)) continue;
      T& target = c[at_i * p.c.row + at_j * p.c.column];
      target = p.beta == T(0) ? p.alpha * sum[i][j] : p.alpha * sum[i][j] + p.beta * target;
    }
  }
}

template <class T>
Status run(Product<T> p, int64_t batch) {
  constexpr int64_t kMost = 65535;  // of a grid's second and third dimension
  const int64_t columns = blocks_for(p.n, kTile);
  if (columns > kMost) return fail(OSC_ARGUMENT, 0, "a product with %lld columns", static_cast<long long>(p.n));
  for (int64_t done = 0; done < batch; done += kMost) {
    const int64_t now = std::min(kMost, batch - done);
    const dim3 grid(static_cast<unsigned>(blocks_for(p.m, kTile)), static_cast<unsigned>(columns), static_cast<unsigned>(now));
    OSC_TRY(launch(multiply<T>, grid, kThreads, 0, p));
    p.a.data += now * p.stride_a;
    p.b.data += now * p.stride_b;
    p.c.data += now * p.stride_c;
  }
  return ok();
}

template <class T>
Status product(int64_t m, int64_t n, int64_t k, T alpha, Strided<const T> a, Strided<const T> b, T beta, Strided<T> c) {
  return run(Product<T>{m, n, k, alpha, beta, a, b, c, 0, 0, 0, false}, 1);
}

// ---- triangular systems: 32 rows at a time, each column of the right-hand side by one thread

constexpr int kBlock = 32;

template <class T>
OSC_GLOBAL solve_rows(int rows, int64_t columns, T alpha, Strided<const T> lower, Strided<T> b) {
  OSC_SHARED(T, triangle, [kBlock][kBlock + 1]);
  for (int e = static_cast<int>(threadIdx.x); e < rows * rows; e += static_cast<int>(blockDim.x)) {
    if (e % rows <= e / rows) triangle[e / rows][e % rows] = lower.at(e / rows, e % rows);
  }
  __syncthreads();
  const int64_t column = global_thread();
  if (column >= columns) return;
  T x[kBlock];
#pragma unroll
  for (int i = 0; i < kBlock; ++i) {
    if (i >= rows) break;
    T sum = alpha * b.at(i, column);
#pragma unroll
    for (int j = 0; j < i; ++j) sum -= triangle[i][j] * x[j];
    x[i] = sum / triangle[i][i];
    b.at(i, column) = x[i];
  }
}

// lower [m, m] X = alpha B in place.
template <class T>
Status solve_lower(int64_t m, int64_t n, T alpha, Strided<const T> lower, Strided<T> b) {
  for (int64_t i = 0; i < m; i += kBlock) {
    const int64_t rows = std::min<int64_t>(kBlock, m - i), rest = m - i - rows;
    const T scale = i == 0 ? alpha : T(1);  // rows below the first block were scaled by the update
    OSC_TRY(launch(solve_rows<T>, static_cast<unsigned>(blocks_for(n, 128)), 128, 0, static_cast<int>(rows), n, scale,
                   lower.from(i, i), b.from(i, 0)));
    if (rest == 0) break;
    const Strided<const T> solved{b.data + i * b.row, b.row, b.column};
    OSC_TRY(product<T>(rest, n, rows, T(-1), lower.from(i + rows, i), solved, i == 0 ? alpha : T(1), b.from(i + rows, 0)));
  }
  return ok();
}

// ---- Cholesky: 32 columns at a time

template <class T>
OSC_GLOBAL factor_block(int n, int64_t before, T* a, int64_t lda, int32_t* info) {
  OSC_SHARED(T, block, [kBlock][kBlock + 1]);
  OSC_SHARED(int, failed);
  const int t = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  if (t == 0) failed = before == 0 ? 0 : *info;
  for (int e = t; e < n * n; e += threads) {
    if (e % n <= e / n) block[e / n][e % n] = a[e / n * lda + e % n];
  }
  __syncthreads();
  for (int j = 0; j < n && !failed; ++j) {
    __syncthreads();  // everybody has read failed
    if (t == 0) {
      if (!(block[j][j] > T(0))) failed = static_cast<int>(before) + j + 1;
      else block[j][j] = sqrt(block[j][j]);
    }
    __syncthreads();
    if (failed) break;
    for (int i = j + 1 + t; i < n; i += threads) block[i][j] /= block[j][j];
    __syncthreads();
    for (int e = t; e < n * n; e += threads) {
      const int i = e / n, k = e % n;
      if (k > j && i >= k) block[i][k] -= block[i][j] * block[k][j];
    }
    __syncthreads();
  }
  for (int e = t; e < n * n; e += threads) {
    if (e % n <= e / n) a[e / n * lda + e % n] = block[e / n][e % n];
  }
  if (t == 0) *info = failed;
}

template <class T>
OSC_GLOBAL invert_lower(int n, T* a, int64_t lda) {
  OSC_SHARED(T, lower, [kBlock][kBlock + 1]);
  const int column = static_cast<int>(threadIdx.x);
  for (int i = 0; i < n; ++i) {
    if (column <= i) lower[i][column] = a[i * lda + column];
  }
  __syncwarp();
  T x[kBlock];
#pragma unroll
  for (int i = 0; i < kBlock; ++i) {
    if (i >= n) break;
    T sum = i == column ? T(1) : T(0);
#pragma unroll
    for (int j = 0; j < i; ++j) {
      if (j >= column) sum -= lower[i][j] * x[j];
    }
    x[i] = i < column ? T(0) : sum / lower[i][i];
    if (column <= i) a[i * lda + column] = x[i];
  }
}

}  // namespace

template <class T>
Status gemm_batched(Transpose ta, Transpose tb, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda,
                    int64_t stride_a, const T* b, int64_t ldb, int64_t stride_b, T beta, T* c, int64_t ldc, int64_t stride_c,
                    int64_t batch) {
  return run(Product<T>{m, n, k, alpha, beta, matrix(ta, a, lda), matrix(tb, b, ldb), matrix(Transpose::kNo, c, ldc), stride_a,
                        stride_b, stride_c, false},
             batch);
}

template <class T>
Status syrk(Transpose trans, int64_t n, int64_t k, T alpha, const T* a, int64_t lda, T beta, T* c, int64_t ldc) {
  const Strided<const T> left = matrix(trans, a, lda);
  return run(Product<T>{n, n, k, alpha, beta, left, left.transposed(), matrix(Transpose::kNo, c, ldc), 0, 0, 0, true}, 1);
}

template <class T>
Status trsm(Side side, Triangle triangle, Transpose trans, int64_t m, int64_t n, T alpha, const T* a, int64_t lda, T* b,
            int64_t ldb) {
  Strided<const T> lower = matrix(trans, a, lda);
  Strided<T> right = matrix(Transpose::kNo, b, ldb);
  bool upper = (triangle == Triangle::kUpper) != (trans == Transpose::kYes);
  if (side == Side::kRight) {  // X A = B is A^T X^T = B^T
    lower = lower.transposed();
    right = right.transposed();
    upper = !upper;
    std::swap(m, n);
  }
  if (upper) {  // from the last row up it is lower
    lower = lower.reversed(m, m);
    right = right.reversed(m, n);
  }
  return solve_lower(m, n, alpha, lower, right);
}

template <class T>
Status potrf(int64_t n, T* a, int64_t lda, int32_t* info) {
  for (int64_t j = 0; j < n; j += kBlock) {
    const int64_t columns = std::min<int64_t>(kBlock, n - j), rest = n - j - columns;
    T* const diagonal = a + j * lda + j;
    OSC_TRY(launch(factor_block<T>, 1, 256, 0, static_cast<int>(columns), j, diagonal, lda, info));
    if (rest == 0) break;
    T* const below = diagonal + columns * lda;
    OSC_TRY(trsm<T>(Side::kRight, Triangle::kLower, Transpose::kYes, rest, columns, T(1), diagonal, lda, below, lda));
    OSC_TRY(syrk<T>(Transpose::kNo, rest, columns, T(-1), below, lda, T(1), below + columns, lda));
  }
  return ok();
}

template <class T>
Status invert_block(int64_t n, T* a, int64_t lda) {
  return launch(invert_lower<T>, 1, kBlock, 0, static_cast<int>(n), a, lda);
}

#define OSC_INSTANTIATE(T)                                                                                                  \
  template Status gemm_batched<T>(Transpose, Transpose, int64_t, int64_t, int64_t, T, const T*, int64_t, int64_t, const T*, \
                                  int64_t, int64_t, T, T*, int64_t, int64_t, int64_t);                                      \
  template Status syrk<T>(Transpose, int64_t, int64_t, T, const T*, int64_t, T, T*, int64_t);                               \
  template Status trsm<T>(Side, Triangle, Transpose, int64_t, int64_t, T, const T*, int64_t, T*, int64_t);                  \
  template Status potrf<T>(int64_t, T*, int64_t, int32_t*);                                                                 \
  template Status invert_block<T>(int64_t, T*, int64_t);
OSC_INSTANTIATE(float)
OSC_INSTANTIATE(double)
#undef OSC_INSTANTIATE

}  // namespace osc::tiled
