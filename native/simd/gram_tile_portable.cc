#include "gram_tile.h"

#define OSC_GRAM_TABLE kGramPortable
#define OSC_SIMD_LANES 4
#include "gram_tile_body.inc"
