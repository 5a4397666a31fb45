#include "simd.h"

#include "../core/platform/cpu.h"

namespace osc {

const Simd& simd() {
#if defined(__x86_64__)
  switch (cpu_path()) {
    case CpuPath::kAvx512: return kSimdAvx512;
    case CpuPath::kAvx2: return kSimdAvx2;
    case CpuPath::kPortable: break;
  }
#endif
  return kSimdPortable;
}

}  // namespace osc
