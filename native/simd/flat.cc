#include "flat.h"

#include "../core/platform/cpu.h"

namespace osc {
namespace {

template <class Table>
const Table& of_path(const Table& portable, [[maybe_unused]] const Table& avx2, [[maybe_unused]] const Table& avx512) {
  switch (cpu_path()) {
    case CpuPath::kAvx512: return avx512;
    case CpuPath::kAvx2: return avx2;
    case CpuPath::kPortable: break;
  }
  return portable;
}

}  // namespace

#if defined(__x86_64__)
#define OSC_OF_PATH(table) of_path(table##Portable, table##Avx2, table##Avx512)
#else
#define OSC_OF_PATH(table) table##Portable
#endif

const FlatSimd& flat_simd() { return OSC_OF_PATH(kFlat); }

template <>
const VectorSimd<float>& vector_simd<float>() {
  return OSC_OF_PATH(kFloat);
}

template <>
const VectorSimd<double>& vector_simd<double>() {
  return OSC_OF_PATH(kDouble);
}

}  // namespace osc
