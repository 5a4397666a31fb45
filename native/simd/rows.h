// Loops over one row of a matrix with a code path per instruction set: rows_body.inc is compiled once per path.
#pragma once
#include <cstdint>

namespace osc {

// Sums are in float64, one for each lane, added at the end in order. Counts may be 0; rows may not overlap unless equal.
template <class E>
struct RowLoops {
  double (*sum)(const E* x, int64_t count);
  double (*dot)(const E* x, const E* y, int64_t count);
  double (*deviation)(const E* x, E mean, int64_t count);      // sum of (x_i - mean)^2
  void (*add)(double* sums, const E* x, int64_t count);        // sums_i += x_i
  E (*largest)(const E* x, int64_t count);                     // NaN if there is one; count > 0
  void (*keep_largest)(E* kept, const E* x, int64_t count);    // kept_i = max(kept_i, x_i), NaN from either
  double (*exponential)(const E* x, E shift, E scale, E* y, int64_t count);  // y_i = e^(scale (x_i - shift)); their sum
  void (*shift_scale)(const E* x, E shift, E scale, E* y, int64_t count);    // y_i = scale (x_i - shift)
  void (*combine)(const E* x, E a, const E* y, E b, E c, E* z, int64_t count);  // z_i = a x_i + b y_i + c
  void (*multiply)(const E* x, const E* y, E shift, E scale, E* z, int64_t count);  // z_i = scale x_i (y_i - shift)
};

struct Rows {
  RowLoops<float> float32;
  RowLoops<double> float64;
  template <class E>
  const RowLoops<E>& of() const {
    if constexpr (sizeof(E) == 4) return float32;
    else return float64;
  }
};

const Rows& rows();  // of cpu_path()

extern const Rows kRowsPortable;
#if defined(__x86_64__)
extern const Rows kRowsAvx2, kRowsAvx512;
#endif

}  // namespace osc
