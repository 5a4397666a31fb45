// Headers first: what they define inline must not be compiled for AVX2 (the linker may keep that copy for everyone).
#include "simd.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define OSC_SIMD_TABLE kSimdAvx2
#define OSC_SIMD_LANES 8
#include "simd_body.inc"
#pragma GCC pop_options
#endif
