// Headers first: what they define inline must not be compiled for other processors (see simd_avx2.cc).
#include "gram_tile.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define OSC_GRAM_TABLE kGramAvx2
#define OSC_SIMD_LANES 8
#include "gram_tile_body.inc"
#pragma GCC pop_options
#endif
