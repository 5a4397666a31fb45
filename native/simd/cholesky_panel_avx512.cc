// Headers first: what they define inline must not be compiled for other processors (see simd_avx512.cc).
#include "cholesky_panel.h"

#include <cmath>

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,fma")
#define OSC_CHOLESKY_TABLE kCholeskyAvx512
#define OSC_VECTOR_BYTES 64
#include "cholesky_panel_body.inc"
#pragma GCC pop_options
#endif
