#include "flat.h"

#include "../core/platform/cpu.h"

namespace osc {

const FlatSimd& flat_simd() {
#if defined(__x86_64__)
  switch (cpu_path()) {
    case CpuPath::kAvx512: return kFlatAvx512;
    case CpuPath::kAvx2: return kFlatAvx2;
    case CpuPath::kPortable: break;
  }
#endif
  return kFlatPortable;
}

}  // namespace osc
