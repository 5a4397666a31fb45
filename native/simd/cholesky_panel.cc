#include "cholesky_panel.h"

#include "../core/platform/cpu.h"

namespace osc {

const CholeskySimd& cholesky_simd() {
#if defined(__x86_64__)
  switch (cpu_path()) {
    case CpuPath::kAvx512: return kCholeskyAvx512;
    case CpuPath::kAvx2: return kCholeskyAvx2;
    case CpuPath::kPortable: break;
  }
#endif
  return kCholeskyPortable;
}

}  // namespace osc
