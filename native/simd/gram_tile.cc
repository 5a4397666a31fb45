#include "gram_tile.h"

#include "../core/platform/cpu.h"

namespace osc {

const GramSimd& gram_simd() {
#if defined(__x86_64__)
  switch (cpu_path()) {
    case CpuPath::kAvx512: return kGramAvx512;
    case CpuPath::kAvx2: return kGramAvx2;
    case CpuPath::kPortable: break;
  }
#endif
  return kGramPortable;
}

}  // namespace osc
