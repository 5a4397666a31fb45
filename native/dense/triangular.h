// Triangular matrices.
#pragma once
#include <cmath>

#include "../core/status.h"

namespace osc {

// SINGULAR (index: row, counted over the batch) when the diagonal of t[n, n], matrix number `item`, has a zero or a NaN.
template <class Real>
Status check_diagonal(const Real* t, int64_t n, int64_t item) {
  for (int64_t i = 0; i < n; ++i) {
    const Real d = t[i * n + i];
    if (d == 0 || !std::isfinite(d)) {
      return fail(OSC_SINGULAR, item * n + i, "the triangular matrix has %g on its diagonal in row %lld", static_cast<double>(d),
                  static_cast<long long>(i));
    }
  }
  return ok();
}

}  // namespace osc
