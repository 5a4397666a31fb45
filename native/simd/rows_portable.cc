#include "rows.h"
#include "vector_math.h"

#include <cstring>
#include <utility>

#define OSC_ROWS_TABLE kRowsPortable
#define OSC_SIMD_LANES 4
#include "rows_body.inc"
