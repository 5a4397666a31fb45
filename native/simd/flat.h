// The loops over flat vectors, with a code path per instruction set: flat_*.cc compile the bodies *_body.inc once per path.
// Results have the same bits on every path: operations are rounded one at a time, and multiply-adds are written out.
#pragma once
#include <cstdint>

#include "../core/philox.h"

namespace osc {

struct FlatSimd {
  // y[i] = shift + scale * number i of the kind and key, i in [first, first + count).
  void (*random)(RandomKind kind, const RandomKey& key, int64_t first, int64_t count, float scale, float shift, float* y);
};

const FlatSimd& flat_simd();  // of cpu_path()

extern const FlatSimd kFlatPortable;
#if defined(__x86_64__)
extern const FlatSimd kFlatAvx2, kFlatAvx512;
#endif

}  // namespace osc
