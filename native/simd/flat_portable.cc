#include "flat.h"

#include <algorithm>

#define OSC_FLAT_TABLE kFlatPortable
#include "random_body.inc"
#include "flat_table.inc"
