#include "flat.h"

#include <algorithm>
#include <cstring>

#define OSC_FLAT_PATH(table) table##Portable
#include "random_body.inc"
#include "prune_body.inc"
#include "reduce_body.inc"
#include "step_body.inc"
#include "flat_table.inc"
