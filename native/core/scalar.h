// Element types as C++ types, and the conversion rules between them (see `convert` in kernels.h).
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "half.h"
#include "host_device.h"
#include "tensor.h"

namespace osc {

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};
struct Bool {
  uint8_t value;
};

// Calls f(T{}) with the element type of dtype.
template <class F>
auto with_type(int32_t dtype, F&& f) {
  switch (dtype) {
    case OSC_FLOAT64: return f(double{});
    case OSC_INT32: return f(int32_t{});
    case OSC_UINT8: return f(uint8_t{});
    case OSC_FLOAT16: return f(Half{});
    case OSC_BFLOAT16: return f(BFloat16{});
    case OSC_INT8: return f(int8_t{});
    case OSC_INT64: return f(int64_t{});
    case OSC_BOOL: return f(Bool{});
    default: return f(float{});
  }
}

// The value as float, double or int64_t, whichever holds it exactly.
template <class T>
OSC_HOST_DEVICE auto widen(T x) {
  if constexpr (std::is_same_v<T, Half>) return half_to_float(x.bits);
  else if constexpr (std::is_same_v<T, BFloat16>) return bfloat16_to_float(x.bits);
  else if constexpr (std::is_same_v<T, Bool>) return static_cast<int64_t>(x.value != 0);
  else if constexpr (std::is_floating_point_v<T>) return x;
  else return static_cast<int64_t>(x);
}

// double to float32 such that a later rounding to 16 bits is not a double rounding: round to odd.
OSC_HOST_DEVICE inline float to_float_odd(double x) {
  const float f = static_cast<float>(x);
  if (static_cast<double>(f) == x || !std::isfinite(f)) return f;
  uint32_t bits = bit_cast<uint32_t>(f);
  if (std::abs(static_cast<double>(f)) > std::abs(x)) --bits;  // toward zero
  return bit_cast<float>(bits | 1u);
}

template <class To, class From>
OSC_HOST_DEVICE To convert_element(From source) {
  const auto x = widen(source);
  using X = std::remove_const_t<decltype(x)>;
  if constexpr (std::is_same_v<To, Half> || std::is_same_v<To, BFloat16>) {
    float f;
    if constexpr (std::is_same_v<X, float>) f = x;
    else if constexpr (std::is_same_v<X, double>) f = to_float_odd(x);
    else f = to_float_odd(static_cast<double>(x));
    return std::is_same_v<To, Half> ? To{float_to_half(f)} : To{float_to_bfloat16(f)};
  } else if constexpr (std::is_same_v<To, Bool>) {
    return Bool{static_cast<uint8_t>(x != X(0))};
  } else if constexpr (std::is_floating_point_v<To>) {
    return static_cast<To>(x);
  } else {
    constexpr To low = std::numeric_limits<To>::min(), high = std::numeric_limits<To>::max();
    if constexpr (std::is_floating_point_v<X>) {
      if (!(x == x)) return To{0};
      // high + 1 is a power of two, exact in X; for int64 high itself is not.
      const X limit = -static_cast<X>(low) == X(0) ? static_cast<X>(high) + X(1) : -static_cast<X>(low);
      if (x >= limit) return high;
      if (x <= static_cast<X>(low)) return low;
      return static_cast<To>(x);
    } else {
      if (x > static_cast<int64_t>(high)) return high;
      if (x < static_cast<int64_t>(low)) return low;
      return static_cast<To>(x);
    }
  }
}

}  // namespace osc
