// Functions of vectors of floats (to about 2 ulp, any number of lanes) and of doubles (the C library's, lane by lane),
// as Math<V> for core/elementwise.h. Polynomials: Chebyshev fits of the remainder named beside them, relative to its
// leading term; the reductions are the usual ones (Muller, Elementary Functions, 2016, chapters 3 and 11).
#pragma once
#include <cmath>
#include <cstdint>

#include "../core/elementwise.h"

namespace osc {

// A vector of `lanes` elements, and the integers of its size.
template <class E, int lanes>
struct VectorOf {
  typedef E Type __attribute__((vector_size(lanes * sizeof(E))));
  typedef E Unaligned __attribute__((vector_size(lanes * sizeof(E)), aligned(sizeof(E)), may_alias));
};

namespace vector_math {

template <class V>
struct Traits {
  static constexpr int lanes = sizeof(V) / sizeof(float);
  typedef int32_t I __attribute__((vector_size(sizeof(V))));
};

template <class V>
OSC_FORMULA V splat(float x) {
  return V{} + x;
}

// Half to even for |x| < 2^22.
template <class V>
OSC_FORMULA V round_even(V x) {
  const V magic = splat<V>(12582912.0F);
  return (x + magic) - magic;
}

// 2^n for whole n in [-126, 127].
template <class V>
OSC_FORMULA V power_of_two(V n) {
  using I = typename Traits<V>::I;
  return reinterpret_cast<V>((__builtin_convertvector(n, I) + 127) << 23);
}

template <class V>
OSC_FORMULA V exp(V x) {
  const V clipped = x > 89.0F ? splat<V>(89.0F) : (x < -104.0F ? splat<V>(-104.0F) : x);
  const V n = round_even(clipped * 1.44269504F);
  // log 2 in two parts, the first short: n times it is exact.
  const V r = (clipped - n * 0.693115234375F) - n * 3.19461849e-5F;
  // (e^r - 1 - r) / r^2, |r| <= log(2) / 2
  const V p = 0.5F + r * (0.16666577F + r * (0.0416665547F + r * (0.00836317307F + r * 0.00139261761F)));
  const V y = 1.0F + (r + r * r * p);
  // In two factors: 2^n alone may be neither finite nor normal where the result is.
  const V half = round_even(n * 0.5F);
  const V result = y * power_of_two(half) * power_of_two(n - half);
  return x == x ? result : x;
}

template <class V>
OSC_FORMULA V log(V x) {
  using I = typename Traits<V>::I;
  const I tiny = x < 1.17549435e-38F;
  const V normal = tiny ? x * 8388608.0F : x;
  const I bits = reinterpret_cast<I>(normal);
  V exponent = __builtin_convertvector((bits >> 23) - 127, V);
  exponent = tiny ? exponent - 23.0F : exponent;
  V m = reinterpret_cast<V>((bits & 0x007FFFFF) | 0x3F800000);
  const I high = m > 1.41421356F;
  m = high ? m * 0.5F : m;
  exponent = high ? exponent + 1.0F : exponent;
  const V f = m - 1.0F, f2 = f * f;
  // (log(1 + f) - f + f^2 / 2) / f^3, sqrt(1/2) <= 1 + f <= sqrt(2)
  const V p = 0.333333312F + f * (-0.24999997F + f * (0.200007157F + f * (-0.166678023F + f * (0.142490576F + f * (-0.124256873F + f * (0.116854199F + f * (-0.114797338F + f * (0.0697161147F))))))));
  const V y = exponent * 0.693115234375F + (f + (f2 * (f * p - 0.5F) + exponent * 3.19461849e-5F));
  const V infinity = splat<V>(__builtin_inff());
  return x > 0.0F ? (x < infinity ? y : x) : (x == 0.0F ? -infinity : splat<V>(__builtin_nanf("")));
}

template <class V>
OSC_FORMULA V absolute(V x) {
  using I = typename Traits<V>::I;
  return reinterpret_cast<V>(reinterpret_cast<I>(x) & 0x7FFFFFFF);
}

template <class V>
OSC_FORMULA V with_sign_of(V magnitude, V x) {
  using I = typename Traits<V>::I;
  return reinterpret_cast<V>(reinterpret_cast<I>(magnitude) | (reinterpret_cast<I>(x) & INT32_MIN));
}

template <class V>
OSC_FORMULA V tanh(V x) {
  const V size = absolute(x), u = x * x;
  // (tanh x - x) / x^3 in u = x^2 <= 0.4
  const V p = -0.333333284F + u * (0.133327188F + u * (-0.0538432632F + u * (0.0209613291F + u * -0.0060451651F)));
  const V far = with_sign_of(1.0F - 2.0F / (exp(size + size) + 1.0F), x);
  return size < 0.625F ? x + x * u * p : (x == x ? far : x);
}

// e^(z^2) erfc(z) for z >= 0, as t Q(t) with t = 2 / (2 + z).
template <class V>
OSC_FORMULA V scaled_erfc(V z) {
  const V t = 2.0F / (2.0F + z);
  return t * (0.28209042F + t * (0.282210588F + t * (0.245569088F + t * (0.183564069F + t * (0.0614309562F + t * (0.0216961307F + t * (-0.00310953343F + t * (-0.306404034F + t * (0.39070053F + t * (-0.193876963F + t * 0.0361287502F))))))))));
}

template <class V>
OSC_FORMULA V erf(V x) {
  const V size = absolute(x), u = x * x;
  // erf(x) / x in u = x^2 <= 1
  const V p = 1.12837917F + u * (-0.376126267F + u * (0.112835947F + u * (-0.026854212F + u * (0.00518908742F + u * (-0.000801686429F + u * 7.87587506e-5F)))));
  const V far = with_sign_of(1.0F - scaled_erfc(size) * exp(-u), x);
  return size < 1.0F ? x * p : (x == x ? far : x);
}

template <class V>
OSC_FORMULA V normal_cdf(V x) {
  const V z = absolute(x) * 0.707106781F;
  const V tail = 0.5F * scaled_erfc(z) * exp(-0.5F * x * x);
  return x > 0.0F ? 1.0F - tail : (x == x ? tail : x);
}

// sin (shift 0) or cos (shift 1) for |x| <= 2^13; beyond, and for NaN and Inf, lane by lane.
template <int shift, class V>
OSC_FORMULA V sine(V x) {
  using I = typename Traits<V>::I;
  const V n = round_even(x * 0.636619772F);
  // pi / 2 in three parts: n times the first two is exact.
  const V r = ((x - n * 1.5703125F) - n * 0.0004837512969970703F) - n * 7.549790126404332e-8F;
  const I quadrant = __builtin_convertvector(n, I) + shift;
  const V u = r * r;
  const V s = r + r * u * (-0.166666647F + u * (0.00833274827F + u * -0.000195878909F));
  const V c = 1.0F + (u * u * (0.0416666647F + u * (-0.0013888303F + u * 2.45479421e-5F)) - 0.5F * u);
  const V value = (quadrant & 1) != 0 ? c : s;
  V y = (quadrant & 2) != 0 ? -value : value;
  const I far = !(absolute(x) <= 8192.0F);
  for (int l = 0; l < Traits<V>::lanes; ++l) {
    if (far[l]) y[l] = shift ? std::cos(x[l]) : std::sin(x[l]);
  }
  return y;
}

template <class V>
OSC_FORMULA V square_root(V x) {
  for (unsigned l = 0; l < sizeof(V) / sizeof(x[0]); ++l) x[l] = __builtin_sqrt(x[l]);
  return x;
}

}  // namespace vector_math

template <class V>
struct Math<V, std::enable_if_t<!std::is_arithmetic_v<V> && sizeof(std::declval<V>()[0]) == 4>> {
  using Element = float;
  static OSC_FORMULA V exp(V x) { return vector_math::exp(x); }
  static OSC_FORMULA V log(V x) { return vector_math::log(x); }
  static OSC_FORMULA V sqrt(V x) {
    for (unsigned l = 0; l < sizeof(V) / 4; ++l) x[l] = __builtin_sqrtf(x[l]);
    return x;
  }
  static OSC_FORMULA V sin(V x) { return vector_math::sine<0>(x); }
  static OSC_FORMULA V cos(V x) { return vector_math::sine<1>(x); }
  static OSC_FORMULA V tanh(V x) { return vector_math::tanh(x); }
  static OSC_FORMULA V erf(V x) { return vector_math::erf(x); }
  static OSC_FORMULA V normal_cdf(V x) { return vector_math::normal_cdf(x); }
  static OSC_FORMULA V pow(V x, V y) {
    for (unsigned l = 0; l < sizeof(V) / 4; ++l) x[l] = std::pow(x[l], y[l]);
    return x;
  }
  // For 0 <= x <= 1: log(1 + x), whose rounding of 1 + x is made up for.
  static OSC_FORMULA V log1p(V x) {
    const V sum = 1.0F + x;
    return vector_math::log(sum) + (x - (sum - 1.0F)) / sum;
  }
};

template <class V>
struct Math<V, std::enable_if_t<!std::is_arithmetic_v<V> && sizeof(std::declval<V>()[0]) == 8>> {
  using Element = double;
#define OSC_LANES(name)                                                                   \
  static OSC_FORMULA V name(V x) {                                                        \
    for (unsigned l = 0; l < sizeof(V) / 8; ++l) x[l] = Math<double>::name(x[l]);          \
    return x;                                                                             \
  }
  OSC_LANES(exp)
  OSC_LANES(log)
  OSC_LANES(sqrt)
  OSC_LANES(sin)
  OSC_LANES(cos)
  OSC_LANES(tanh)
  OSC_LANES(erf)
  OSC_LANES(normal_cdf)
  OSC_LANES(log1p)
#undef OSC_LANES
  static OSC_FORMULA V pow(V x, V y) {
    for (unsigned l = 0; l < sizeof(V) / 8; ++l) x[l] = std::pow(x[l], y[l]);
    return x;
  }
};

}  // namespace osc
