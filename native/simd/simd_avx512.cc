// Headers first: what they define inline must not be compiled for AVX-512 (the linker may keep that copy for everyone).
#include "simd.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,fma")
#define OSC_SIMD_TABLE kSimdAvx512
#define OSC_SIMD_LANES 16
#include "simd_body.inc"
#pragma GCC pop_options
#endif
