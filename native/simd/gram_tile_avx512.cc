// Headers first: what they define inline must not be compiled for other processors (see simd_avx512.cc).
#include "gram_tile.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,fma")
#define OSC_GRAM_TABLE kGramAvx512
#define OSC_SIMD_LANES 16
#include "gram_tile_body.inc"
#pragma GCC pop_options
#endif
