// Headers first: what they define inline must not be compiled for other processors (see simd_avx512.cc).
#include "elementwise.h"
#include "vector_math.h"

#if defined(__x86_64__)
#include <cstring>
#include <utility>

#pragma GCC push_options
#pragma GCC target("avx2,fma")
#define OSC_ELEMENTWISE_TABLE kElementwiseAvx2
#define OSC_SIMD_LANES 8
#include "elementwise_body.inc"
#pragma GCC pop_options
#endif
