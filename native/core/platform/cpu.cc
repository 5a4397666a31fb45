#include "cpu.h"

#include <sched.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

namespace osc {
namespace {

bool has(CpuPath path) {
#if defined(__x86_64__)
  switch (path) {
    case CpuPath::kPortable: return true;
    case CpuPath::kAvx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case CpuPath::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  }
  return false;
#else
  return path == CpuPath::kPortable;
#endif
}

CpuPath choose() {
  if (const char* forced = std::getenv("OSCULATE_CPU")) {
    for (CpuPath path : {CpuPath::kPortable, CpuPath::kAvx2, CpuPath::kAvx512}) {
      if (std::strcmp(forced, cpu_path_name(path)) == 0 && has(path)) return path;
    }
  }
  if (has(CpuPath::kAvx512)) return CpuPath::kAvx512;
  return has(CpuPath::kAvx2) ? CpuPath::kAvx2 : CpuPath::kPortable;
}

}  // namespace

CpuPath cpu_path() {
  static const CpuPath path = choose();
  return path;
}

const char* cpu_path_name(CpuPath path) {
  switch (path) {
    case CpuPath::kAvx2: return "avx2";
    case CpuPath::kAvx512: return "avx512";
    default: return "portable";
  }
}

const char* cpu_features() {
  static const std::string features = [] {
    std::string text;
#if defined(__x86_64__)
#define OSC_FEATURE(name) \
  if (__builtin_cpu_supports(name)) text += text.empty() ? name : " " name;
    OSC_FEATURE("sse4.2") OSC_FEATURE("avx") OSC_FEATURE("avx2") OSC_FEATURE("fma") OSC_FEATURE("avx512f")
    OSC_FEATURE("avx512bw") OSC_FEATURE("avx512vl") OSC_FEATURE("avx512dq") OSC_FEATURE("avx512vnni")
    OSC_FEATURE("avx512bf16")
#undef OSC_FEATURE
#elif defined(__aarch64__)
    text = "neon";
#endif
    return text;
  }();
  return features.c_str();
}

int available_processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  const unsigned count = std::thread::hardware_concurrency();
  return count ? static_cast<int>(count) : 1;
}

}  // namespace osc
