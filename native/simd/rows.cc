#include "rows.h"

#include "../core/platform/cpu.h"

namespace osc {

const Rows& rows() {
#if defined(__x86_64__)
  switch (cpu_path()) {
    case CpuPath::kAvx512: return kRowsAvx512;
    case CpuPath::kAvx2: return kRowsAvx2;
    case CpuPath::kPortable: break;
  }
#endif
  return kRowsPortable;
}

}  // namespace osc
