#include "cholesky_panel.h"

#include <cmath>

#define OSC_CHOLESKY_TABLE kCholeskyPortable
#define OSC_VECTOR_BYTES 16
#include "cholesky_panel_body.inc"
