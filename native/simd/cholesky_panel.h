// The inner loops of a Cholesky factorization A = L L^T whose matrix lies in panels, with a code path per instruction set:
// cholesky_panel_body.inc is compiled once per path. Why not the BLAS: decision 17.
#pragma once
#include <cstdint>

namespace osc {

// A panel holds this many rows of L, 24 doubles or 48 floats, column by column: row r, column k at [k * rows + r]. So one
// panel is both operands of every product, as it lies. Panels are 64-byte aligned.
template <class Real>
inline constexpr int64_t kCholeskyRows = 192 / static_cast<int64_t>(sizeof(Real));

// `base`: first row of the panel `other`, and the first of as many columns of `target` that it belongs to.
template <class Real>
struct CholeskyPanels {
  // target's columns base.. -= target[., from..to) other[., from..to)^T, to <= base.
  void (*update)(const Real* other, Real* target, int64_t base, int64_t from, int64_t to);
  // target's columns base.. = those columns times the inverse transpose of the triangle of `other`, which is factored.
  // inverse: 1 / L_jj of the columns base.. .
  void (*solve)(const Real* other, const Real* inverse, Real* target, int64_t base);
  // Factors the triangle at the end of a panel, and sets inverse. Returns -1, or the first column, counted from base, whose
  // pivot is not positive (NaN is not). Above the diagonal the panel is left undefined.
  int64_t (*factor)(Real* panel, Real* inverse, int64_t base);
  // Between columns of a panel and rows of `stride` numbers: columns[k][r] and rows[r][k], k < count, both 64-byte aligned.
  // count and stride are multiples of 16.
  void (*rows_to_columns)(const Real* rows, int64_t stride, int64_t count, Real* columns);
  void (*columns_to_rows)(const Real* columns, int64_t count, Real* rows, int64_t stride);
};

struct CholeskySimd {
  CholeskyPanels<float> f32;
  CholeskyPanels<double> f64;
};

const CholeskySimd& cholesky_simd();  // of cpu_path()

template <class Real>
const CholeskyPanels<Real>& cholesky_panels() {
  if constexpr (sizeof(Real) == sizeof(float)) {
    return cholesky_simd().f32;
  } else {
    return cholesky_simd().f64;
  }
}

extern const CholeskySimd kCholeskyPortable;
#if defined(__x86_64__)
extern const CholeskySimd kCholeskyAvx2, kCholeskyAvx512;
#endif

}  // namespace osc
