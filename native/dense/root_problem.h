// What is asked of the methods for (A + ridge lambda_max I)^(-1/p), and what they answer.
#pragma once
#include <cstdint>

#include "../core/status.h"

namespace osc {

struct RootProblem {
  int64_t n, p;
  double ridge;      // relative to the largest eigenvalue
  double tolerance;  // of the relative residual: iterations stop when they cannot come closer anyway
  int64_t max_iterations;
};

struct RootOutcome {
  OscCode code = OSC_OK;  // or OSC_NOT_POSITIVE_DEFINITE, OSC_NOT_CONVERGED, OSC_ABORTED
  int64_t iterations = 0;
  double largest = 0;  // eigenvalue of A
  double residual = 0;
};

}  // namespace osc
