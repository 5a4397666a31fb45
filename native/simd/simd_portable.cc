#include "simd.h"

#define OSC_SIMD_TABLE kSimdPortable
#define OSC_SIMD_LANES 4
#include "simd_body.inc"
