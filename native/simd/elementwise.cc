#include "elementwise.h"

#include "../core/platform/cpu.h"

namespace osc {

const Elementwise& elementwise() {
#if defined(__x86_64__)
  switch (cpu_path()) {
    case CpuPath::kAvx512: return kElementwiseAvx512;
    case CpuPath::kAvx2: return kElementwiseAvx2;
    case CpuPath::kPortable: break;
  }
#endif
  return kElementwisePortable;
}

}  // namespace osc
