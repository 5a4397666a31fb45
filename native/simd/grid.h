// The uniform grids of quantization, for the CPU and the GPU: a scale and a zero point for each row and group. The grid
// always contains zero.
//   code = clamp(rint(w / scale) + zero, 0, maxq), w_hat = scale * (code - zero), rounding half to even.
// Source: Frantar et al., GPTQ, 2022, reference quantizer; ours: the symmetric range is always mirrored, and the scale is
// rounded to its stored precision before anything uses it.
#pragma once
#include <algorithm>
#include <cfloat>
#include <cmath>

#include "../core/half.h"
#include "../core/host_device.h"
#include "../core/scalar.h"

namespace osc {

struct GridSpec {
  int64_t bits;
  bool sym;
  bool mse;             // search the range by mean |error|^2.4
  bool float16_scales;  // scales rounded to float16
  OSC_HOST_DEVICE float maxq() const { return static_cast<float>((1 << bits) - 1); }
};

struct Grid {
  float scale;
  float zero;  // 0 .. maxq, an integer
};

inline constexpr int kRangeSteps = 80;  // the search tries ranges shrunk by i/100, i = 0..79

// low <= 0 <= high: the range of the weights.
OSC_HOST_DEVICE inline Grid make_grid(const GridSpec& spec, double low, double high) {
  const double maxq = static_cast<double>(spec.maxq());
  if (spec.sym) {
    high = fmax(-low, high);
    low = -high;
  }
  if (low == 0 && high == 0) {
    low = -1;
    high = 1;
  }
  double scale = (high - low) / maxq;
  float stored;
  if (spec.float16_scales) {  // float16's smallest subnormal and largest number; never 0, never Inf
    scale = fmin(fmax(scale, 5.9604644775390625e-8), 65504.0);
    stored = half_to_float(float_to_half(to_float_odd(scale)));
  } else {
    stored = static_cast<float>(fmin(fmax(scale, static_cast<double>(FLT_MIN)), static_cast<double>(FLT_MAX)));
  }
  if (spec.sym) return {stored, static_cast<float>(1 << (spec.bits - 1))};
  const double steps = rint(-low / (spec.float16_scales ? static_cast<double>(stored) : scale));
  return {stored, static_cast<float>(fmin(fmax(steps, 0.0), maxq))};
}

// The grid of step i of the range search.
OSC_HOST_DEVICE inline Grid shrunk_grid(const GridSpec& spec, double low, double high, int step) {
  const double p = 1.0 - step / 100.0;
  return make_grid(spec, p * low, p * high);
}

}  // namespace osc
