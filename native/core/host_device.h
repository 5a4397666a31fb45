// Functions that CPU kernels and CUDA kernels share: marked OSC_HOST_DEVICE, written in C++17, without throwing.
#pragma once
#include <type_traits>

#if defined(__CUDACC__)
#define OSC_HOST_DEVICE __host__ __device__
#else
#define OSC_HOST_DEVICE
#endif

namespace osc {

// std::bit_cast, which C++17 and device code do not have.
template <class To, class From>
OSC_HOST_DEVICE constexpr To bit_cast(const From& from) {
  static_assert(sizeof(To) == sizeof(From) && std::is_trivially_copyable_v<To> && std::is_trivially_copyable_v<From>);
  return __builtin_bit_cast(To, from);
}

}  // namespace osc
