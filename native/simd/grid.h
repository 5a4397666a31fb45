// The uniform grids of quantization: a scale and a zero point for each row and group. The grid always contains zero.
//   code = clamp(rint(w / scale) + zero, 0, maxq), w_hat = scale * (code - zero), rounding half to even.
// Source: Frantar et al., GPTQ, 2022, reference quantizer; ours: the symmetric range is always mirrored, and the scale is
// rounded to its stored precision before anything uses it.
#pragma once
#include <algorithm>
#include <cfloat>
#include <cmath>

#include "../core/half.h"
#include "../core/scalar.h"

namespace osc {

struct GridSpec {
  int64_t bits;
  bool sym;
  bool mse;             // search the range by mean |error|^2.4
  bool float16_scales;  // scales rounded to float16
  float maxq() const { return static_cast<float>((1 << bits) - 1); }
};

struct Grid {
  float scale;
  float zero;  // 0 .. maxq, an integer
};

inline constexpr int kRangeSteps = 80;  // the search tries ranges shrunk by i/100, i = 0..79

// low <= 0 <= high: the range of the weights.
inline Grid make_grid(const GridSpec& spec, double low, double high) {
  const double maxq = spec.maxq();
  if (spec.sym) {
    high = std::max(-low, high);
    low = -high;
  }
  if (low == 0 && high == 0) {
    low = -1;
    high = 1;
  }
  double scale = (high - low) / maxq;
  float stored;
  if (spec.float16_scales) {  // float16's smallest subnormal and largest number; never 0, never Inf
    scale = std::clamp(scale, 5.9604644775390625e-8, 65504.0);
    stored = half_to_float(float_to_half(to_float_odd(scale)));
  } else {
    stored = static_cast<float>(std::clamp(scale, static_cast<double>(FLT_MIN), static_cast<double>(FLT_MAX)));
  }
  const double zero =
      spec.sym ? std::ldexp(1.0, static_cast<int>(spec.bits) - 1) : std::clamp(std::nearbyint(-low / (spec.float16_scales ? stored : scale)), 0.0, maxq);
  return {stored, static_cast<float>(zero)};
}

// The grid of step i of the range search.
inline Grid shrunk_grid(const GridSpec& spec, double low, double high, int step) {
  const double p = 1.0 - step / 100.0;
  return make_grid(spec, p * low, p * high);
}

// Columns per grid and number of grids of a row; group_size -1, or larger than the row: one grid.
struct Groups {
  int64_t size, count;
  Groups(int64_t group_size, int64_t columns)
      : size(group_size < 0 || group_size > columns ? std::max<int64_t>(columns, 1) : group_size),
        count(columns == 0 ? 1 : (columns + size - 1) / size) {}
};

}  // namespace osc
