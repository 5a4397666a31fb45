#include "elementwise.h"
#include "vector_math.h"

#include <cstring>
#include <utility>

#define OSC_ELEMENTWISE_TABLE kElementwisePortable
#define OSC_SIMD_LANES 4
#include "elementwise_body.inc"
