// gpu.cuh under g++: the spellings of CUDA, on the scheduler.
#pragma once
#include <math.h>  // not <cmath>: as in CUDA, sqrt and its kin have overloads for float outside of std

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>

#include "core/host_device.h"
#include "emulator/runtime.h"
#include "emulator/scheduler.h"

#define OSC_GLOBAL void
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __restrict__ __restrict

#define threadIdx (::osc::emulator::indices.thread)
#define blockIdx (::osc::emulator::indices.block)
#define blockDim (::osc::emulator::indices.block_dim)
#define gridDim (::osc::emulator::indices.grid_dim)

// A reference into the block's arena. The address of the static is the name of the array; a template has one for each
// instance, as in CUDA.
#define OSC_SHARED(type, name, ...)                                                                       \
  static const char name##_key = 0;                                                                       \
  typedef type name##_type __VA_ARGS__;                                                                   \
  name##_type& name = *static_cast<name##_type*>(                                                         \
      ::osc::emulator::shared_array(&name##_key, sizeof(name##_type), alignof(name##_type), __FILE__, __LINE__))

#define OSC_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

namespace osc {

template <class T>
T* dynamic_shared() {
  return static_cast<T*>(emulator::dynamic_shared_bytes());
}

template <class... Parameters, class... Arguments>
Status launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t dynamic_bytes, Arguments&&... arguments) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> values;
  } call{kernel, std::tuple<Parameters...>(static_cast<Parameters>(arguments)...)};
  return emulator::run_launch(
      [](void* closure) {
        const Call& self = *static_cast<const Call*>(closure);
        std::apply(self.kernel, self.values);
      },
      &call, grid, block, dynamic_bytes);
}

}  // namespace osc

// ---- barriers and warp operations

inline void __syncthreads(OSC_HERE) { osc::emulator::block_barrier(false, file, line); }
inline int __syncthreads_count(int predicate, OSC_HERE) {
  return osc::emulator::block_barrier(predicate != 0, file, line);
}
inline int __syncthreads_or(int predicate, OSC_HERE) {
  return osc::emulator::block_barrier(predicate != 0, file, line) > 0;
}
inline int __syncthreads_and(int predicate, OSC_HERE) {
  return osc::emulator::block_barrier(predicate == 0, file, line) == 0;
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, OSC_HERE) { osc::emulator::warp_barrier(mask, file, line); }
inline void __threadfence() { osc::emulator::memory_fence(); }
inline void __threadfence_block() { osc::emulator::memory_fence(); }
inline void __trap(OSC_HERE) { osc::emulator::trap("__trap", file, line); }

namespace osc::emulator {

template <class T>
T shuffle(unsigned mask, T value, int source, const char* operation, const char* file, int line) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) >= 4, "shuffles move 4 or 8 bytes");
  const WarpSlots slots = exchange(mask, operation, &value, sizeof value, file, line);
  if ((mask >> source & 1u) == 0) trap("a lane reads a lane that is not in the mask", file, line);
  return slots.get<T>(source);
}

template <class T, class F>
T warp_fold(unsigned mask, T value, const char* operation, const char* file, int line, F&& fold) {
  const WarpSlots slots = exchange(mask, operation, &value, sizeof value, file, line);
  T total{};
  bool first = true;
  for (int lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1u) == 0) continue;
    const T next = slots.get<T>(lane);
    total = first ? next : fold(total, next);
    first = false;
  }
  return total;
}

template <class T, class F>
T atomic_change(T* address, F&& changed) {
  T seen;
  __atomic_load(address, &seen, __ATOMIC_RELAXED);
  for (;;) {
    T next = changed(seen);
    if (__atomic_compare_exchange(address, &seen, &next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return seen;
  }
}

}  // namespace osc::emulator

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, OSC_HERE) {
  const int lane = osc::emulator::lane_index(), segment = lane / width * width;
  return osc::emulator::shuffle(mask, value, segment + (source & (width - 1)), "__shfl_sync", file, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, OSC_HERE) {
  const int lane = osc::emulator::lane_index(), source = lane ^ lanes;
  return osc::emulator::shuffle(mask, value, source < (lane / width + 1) * width ? source : lane, "__shfl_xor_sync", file,
                                line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, OSC_HERE) {
  const int lane = osc::emulator::lane_index(), source = lane - static_cast<int>(delta);
  return osc::emulator::shuffle(mask, value, source >= lane / width * width ? source : lane, "__shfl_up_sync", file,
                                line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, OSC_HERE) {
  const int lane = osc::emulator::lane_index(), source = lane + static_cast<int>(delta);
  return osc::emulator::shuffle(mask, value, source < (lane / width + 1) * width ? source : lane, "__shfl_down_sync",
                                file, line);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, OSC_HERE) {
  const unsigned bit = predicate ? 1u << osc::emulator::lane_index() : 0u;
  return osc::emulator::warp_fold(mask, bit, "__ballot_sync", file, line, [](unsigned a, unsigned b) { return a | b; });
}
inline int __any_sync(unsigned mask, int predicate, OSC_HERE) {
  return osc::emulator::warp_fold(mask, predicate != 0 ? 1 : 0, "__any_sync", file, line, [](int a, int b) { return a | b; });
}
inline int __all_sync(unsigned mask, int predicate, OSC_HERE) {
  return osc::emulator::warp_fold(mask, predicate != 0 ? 1 : 0, "__all_sync", file, line, [](int a, int b) { return a & b; });
}

#define OSC_EMULATOR_REDUCE(name, type, expression)                                                              \
  inline type name(unsigned mask, type value, OSC_HERE) {                                                        \
    return osc::emulator::warp_fold(mask, value, #name, file, line, [](type a, type b) -> type { return expression; }); \
  }
OSC_EMULATOR_REDUCE(__reduce_add_sync, unsigned, a + b)
OSC_EMULATOR_REDUCE(__reduce_min_sync, unsigned, a < b ? a : b)
OSC_EMULATOR_REDUCE(__reduce_max_sync, unsigned, a > b ? a : b)
OSC_EMULATOR_REDUCE(__reduce_and_sync, unsigned, a & b)
OSC_EMULATOR_REDUCE(__reduce_or_sync, unsigned, a | b)
OSC_EMULATOR_REDUCE(__reduce_xor_sync, unsigned, a ^ b)
OSC_EMULATOR_REDUCE(__reduce_add_sync, int, static_cast<int>(static_cast<unsigned>(a) + static_cast<unsigned>(b)))
OSC_EMULATOR_REDUCE(__reduce_min_sync, int, a < b ? a : b)
OSC_EMULATOR_REDUCE(__reduce_max_sync, int, a > b ? a : b)
#undef OSC_EMULATOR_REDUCE

// ---- atomics: relaxed, as CUDA's are

#define OSC_EMULATOR_ATOMIC(name, type, expression)                                                 \
  inline type name(type* address, type value) {                                                     \
    return osc::emulator::atomic_change(address, [value](type seen) -> type { return expression; }); \
  }
#define OSC_EMULATOR_ATOMICS(type)                                       \
  OSC_EMULATOR_ATOMIC(atomicMin, type, seen < value ? seen : value)      \
  OSC_EMULATOR_ATOMIC(atomicMax, type, seen > value ? seen : value)      \
  OSC_EMULATOR_ATOMIC(atomicAnd, type, seen & value)                     \
  OSC_EMULATOR_ATOMIC(atomicOr, type, seen | value)                      \
  OSC_EMULATOR_ATOMIC(atomicXor, type, seen ^ value)                     \
  OSC_EMULATOR_ATOMIC(atomicExch, type, (static_cast<void>(seen), value))
OSC_EMULATOR_ATOMICS(int)
OSC_EMULATOR_ATOMICS(unsigned)
OSC_EMULATOR_ATOMICS(unsigned long long)
OSC_EMULATOR_ATOMIC(atomicMin, long long, seen < value ? seen : value)
OSC_EMULATOR_ATOMIC(atomicMax, long long, seen > value ? seen : value)
OSC_EMULATOR_ATOMIC(atomicExch, float, (static_cast<void>(seen), value))
OSC_EMULATOR_ATOMIC(atomicAdd, int, static_cast<int>(static_cast<unsigned>(seen) + static_cast<unsigned>(value)))
OSC_EMULATOR_ATOMIC(atomicAdd, unsigned, seen + value)
OSC_EMULATOR_ATOMIC(atomicAdd, unsigned long long, seen + value)
OSC_EMULATOR_ATOMIC(atomicAdd, float, seen + value)
OSC_EMULATOR_ATOMIC(atomicAdd, double, seen + value)
#undef OSC_EMULATOR_ATOMICS
#undef OSC_EMULATOR_ATOMIC

#define OSC_EMULATOR_CAS(type)                                                                            \
  inline type atomicCAS(type* address, type expected, type value) {                                       \
    __atomic_compare_exchange(address, &expected, &value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);      \
    return expected;                                                                                      \
  }
OSC_EMULATOR_CAS(int)
OSC_EMULATOR_CAS(unsigned)
OSC_EMULATOR_CAS(unsigned long long)
#undef OSC_EMULATOR_CAS

// ---- functions

template <class T>
T __ldg(const T* address) {
  return *address;
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
inline unsigned __float_as_uint(float x) { return osc::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return osc::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return osc::bit_cast<float>(x); }
inline float __int_as_float(int x) { return osc::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return osc::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return osc::bit_cast<double>(x); }
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyintf(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return __builtin_sqrtf(a); }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float rsqrtf(float x) { return 1.0f / __builtin_sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / __builtin_sqrt(x); }
inline float __expf(float x) { return __builtin_expf(x); }
inline float __logf(float x) { return __builtin_logf(x); }
inline float __fdividef(float a, float b) { return a / b; }

// CUDA has min and max without std::, and lets the integer types mix; a NaN argument gives the other one.
template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) return std::fmin(static_cast<T>(a), static_cast<T>(b));
  else return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(a) : static_cast<T>(b);
}
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) return std::fmax(static_cast<T>(a), static_cast<T>(b));
  else return static_cast<T>(a) > static_cast<T>(b) ? static_cast<T>(a) : static_cast<T>(b);
}

#undef OSC_HERE
