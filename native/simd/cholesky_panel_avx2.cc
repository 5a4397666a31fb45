// Headers first: what they define inline must not be compiled for other processors (see simd_avx2.cc).
#include "cholesky_panel.h"

#include <cmath>

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define OSC_CHOLESKY_TABLE kCholeskyAvx2
#define OSC_VECTOR_BYTES 32
#include "cholesky_panel_body.inc"
#pragma GCC pop_options
#endif
