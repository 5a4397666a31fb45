#include "gram_tile.h"

#include "../core/platform/cpu.h"

namespace osc {

GramTileFunction gram_tile() {
#if defined(__x86_64__)
  switch (cpu_path()) {
    case CpuPath::kAvx512: return gram_tile_avx512;
    case CpuPath::kAvx2: return gram_tile_avx2;
    case CpuPath::kPortable: break;
  }
#endif
  return gram_tile_portable;
}

}  // namespace osc
