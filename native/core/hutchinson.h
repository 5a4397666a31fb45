// Estimates of a Hessian's diagonal from h = H z, z of random signs: the formulas for one element, shared by the CPU's loops and
// the CUDA kernels. Rounding as in optimizer_step.h.
#pragma once
#include "optimizer_step.h"

namespace osc {

// What is taken from h. The order is that of lib/ops/hutchinson.ts and of the contract of hutchinson_accumulate.
enum class DiagonalKind : int32_t { kSigned = 0, kAbsolute = 1, kSquare = 2 };

// A product that nvcc does not contract with a sum that it goes into.
OSC_ELEMENT float rounded_product(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

OSC_ELEMENT float diagonal_of(DiagonalKind kind, float h, float z) {
  return kind == DiagonalKind::kAbsolute ? fabsf(h) : rounded_product(kind == DiagonalKind::kSigned ? z : h, h);
}

// Welford's mean and sum of squared deviations, d being estimate number count + 1. Before the first nothing is read.
struct RunningMoments {
  float share;
  bool fresh;
  explicit RunningMoments(int64_t count)
      : share(static_cast<float>(1 / (static_cast<double>(count) + 1))), fresh(count == 0) {}

  OSC_ELEMENT void operator()(float d, float& mean) const {
    mean = fresh ? d : fmaf(d - mean, share, mean);
  }
  OSC_ELEMENT void operator()(float d, float& mean, float& m2) const {
    const float from_old = d - mean, next = fmaf(from_old, share, mean);
    m2 = fresh ? 0.0F : fmaf(from_old, d - next, m2);
    mean = fresh ? d : next;
  }
};

}  // namespace osc
