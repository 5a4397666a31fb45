// Headers first: what they define inline must not be compiled for AVX2 (see simd_avx2.cc).
#include "flat.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define OSC_FLAT_PATH(table) table##Avx2
#include "random_body.inc"
#include "prune_body.inc"
#include "reduce_body.inc"
#include "step_body.inc"
#include "flat_table.inc"
#pragma GCC pop_options
#endif
