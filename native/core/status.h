// Outcome of a native call. Plain data: it crosses the C kernel table, so no exceptions and no owners.
#pragma once
#include <cstdint>
#include <cstdio>

extern "C" {

enum OscCode : int32_t {
  OSC_OK = 0,
  OSC_ABORTED = 1,
  OSC_ARGUMENT = 2,               // the caller's mistake; message says which
  OSC_UNSUPPORTED = 3,            // the device has no such kernel or dtype
  OSC_OUT_OF_MEMORY = 4,          // index: bytes requested
  OSC_NOT_POSITIVE_DEFINITE = 5,  // index: failing minor, 0-based, in the caller's column order
  OSC_NON_FINITE = 6,             // index: flat position of the first NaN or Inf, row-major
  OSC_INTERNAL = 7,
  OSC_NOT_CONVERGED = 8,          // index: iterations done, value: residual
  OSC_DEVICE = 9,                 // the device is missing or was lost; message says why
  OSC_SINGULAR = 10,              // index: row of a triangular matrix with a zero on its diagonal, counted over the batch
};

struct OscStatus {
  int32_t code;
  int64_t index;
  double value;
  char message[200];
};

}  // extern "C"

namespace osc {

using Status = OscStatus;

inline Status ok() { return Status{OSC_OK, 0, 0.0, {0}}; }

template <class... Values>
Status fail(OscCode code, int64_t index, const char* format, Values... values) {
  Status status{code, index, 0.0, {0}};
  std::snprintf(status.message, sizeof status.message, format, values...);
  return status;
}

inline Status fail(OscCode code, int64_t index, const char* message) { return fail(code, index, "%s", message); }
inline Status aborted() { return fail(OSC_ABORTED, 0, "aborted"); }

#define OSC_TRY(expression)                         \
  do {                                              \
    ::osc::Status osc_status = (expression);        \
    if (osc_status.code != OSC_OK) return osc_status; \
  } while (0)

}  // namespace osc
