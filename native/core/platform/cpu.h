// Everything that asks the operating system or the processor lives in core/platform.
#pragma once

namespace osc {

// Instruction sets with a code path of their own. Results are reproducible on one path; the path is in every manifest.
enum class CpuPath { kPortable, kAvx2, kAvx512 };

// Best path this processor has, or the one OSCULATE_CPU=portable|avx2|avx512 forces (ignored when the processor lacks it).
CpuPath cpu_path();
const char* cpu_path_name(CpuPath path);
const char* cpu_features();  // space-separated, for `inspect`
int available_processors();

}  // namespace osc
