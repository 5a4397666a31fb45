// The formulas of elementwise operations, one element at a time: CPU loops and CUDA kernels both use them.
// T is float, double, or on the CPU a vector of either; Math<T> has the functions, constant<T> the constants.
#pragma once
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "host_device.h"

#if defined(__CUDACC__)
#define OSC_FORMULA __host__ __device__ inline
#else
// Inlined into loops compiled for the instruction set of a path, and never compiled on its own.
#define OSC_FORMULA __attribute__((always_inline)) inline
#endif

namespace osc {

// The order is that of lib/ops/unary.ts.
enum UnaryOp : int64_t {
  kAffine,  // alpha x + beta
  kAbs,
  kExp,
  kLog,
  kSqrt,
  kReciprocal,
  kSquare,
  kSin,
  kCos,
  kPower,  // x^alpha
  kErf,
  kTanh,
  kSigmoid,
  kRelu,
  kGelu,      // x Phi(x)
  kGeluTanh,  // its approximation through tanh
  kSilu,
  kSoftplus,
  kClamp,  // between alpha and beta
  kUnaryOps
};

// The order is that of lib/ops/binary.ts.
enum BinaryOp : int64_t { kAdd, kSubtract, kMultiply, kDivide, kMaximum, kMinimum, kPow, kBinaryOps };

// The order is that of lib/ops/compare.ts.
enum CompareOp : int64_t { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kCompareOps };

// Orders of derivatives that have a formula: f, f' and f''.
inline constexpr int kOrders = 3;

template <class T, class = void>
struct Math {
  using Element = T;
  static OSC_FORMULA T exp(T x) { return std::exp(x); }
  static OSC_FORMULA T log(T x) { return std::log(x); }
  static OSC_FORMULA T sqrt(T x) { return std::sqrt(x); }
  static OSC_FORMULA T sin(T x) { return std::sin(x); }
  static OSC_FORMULA T cos(T x) { return std::cos(x); }
  static OSC_FORMULA T tanh(T x) { return std::tanh(x); }
  static OSC_FORMULA T erf(T x) { return std::erf(x); }
  static OSC_FORMULA T pow(T x, T y) { return std::pow(x, y); }
  static OSC_FORMULA T normal_cdf(T x) { return T(0.5) * std::erfc(x * T(-0.70710678118654752440)); }
  static OSC_FORMULA T log1p(T x) { return std::log1p(x); }
};

template <class T>
OSC_FORMULA T constant(double value) {
  return T{} + static_cast<typename Math<T>::Element>(value);
}

// The logistic function and its derivatives, each to a few ulp also where 1 - sigmoid(x) has no digits left.
template <class T>
struct Logistic {
  T value, first, second;
  explicit OSC_FORMULA Logistic(T x) {
    const T zero = constant<T>(0), one = constant<T>(1);
    const T e = Math<T>::exp(x < zero ? x : -x);
    const T r = one / (one + e);
    value = x < zero ? e * r : r;
    first = e * r * r;
    second = first * ((x < zero ? one - e : e - one) * r);
  }
};

template <class T>
OSC_FORMULA T normal_density(T x) {
  return constant<T>(0.39894228040143267794) * Math<T>::exp(constant<T>(-0.5) * x * x);
}

// f^(order)(x). Orders a function does not have here are 0: lib/ops asks only for those it has.
template <int64_t op, int order, class T>
OSC_FORMULA T unary_formula(T x, T alpha, T beta) {
  const T zero = constant<T>(0), one = constant<T>(1), two = constant<T>(2);
  if constexpr (op == kAffine) {
    if constexpr (order == 0) return alpha * x + beta;
  } else if constexpr (op == kAbs) {
    if constexpr (order == 0) return x < zero ? -x : x + zero;  // -0 becomes 0
    if constexpr (order == 1) return x > zero ? one : (x < zero ? -one : x);  // NaN stays
  } else if constexpr (op == kExp) {
    if constexpr (order == 0) return Math<T>::exp(x);
  } else if constexpr (op == kLog) {
    if constexpr (order == 0) return Math<T>::log(x);
  } else if constexpr (op == kSqrt) {
    if constexpr (order == 0) return Math<T>::sqrt(x);
  } else if constexpr (op == kReciprocal) {
    if constexpr (order == 0) return one / x;
  } else if constexpr (op == kSquare) {
    if constexpr (order == 0) return x * x;
  } else if constexpr (op == kSin) {
    if constexpr (order == 0) return Math<T>::sin(x);
  } else if constexpr (op == kCos) {
    if constexpr (order == 0) return Math<T>::cos(x);
  } else if constexpr (op == kPower) {
    if constexpr (order == 0) return Math<T>::pow(x, alpha);
  } else if constexpr (op == kErf) {
    if constexpr (order == 0) return Math<T>::erf(x);
  } else if constexpr (op == kTanh) {
    if constexpr (order == 0) return Math<T>::tanh(x);
    const T first = constant<T>(4) * Logistic<T>(two * x).first;
    if constexpr (order == 1) return first;
    if constexpr (order == 2) return -two * Math<T>::tanh(x) * first;
  } else if constexpr (op == kSigmoid) {
    const Logistic<T> s(x);
    if constexpr (order == 0) return s.value;
    if constexpr (order == 1) return s.first;
    if constexpr (order == 2) return s.second;
  } else if constexpr (op == kRelu) {
    if constexpr (order == 0) return x <= zero ? zero : x;  // NaN stays
    if constexpr (order == 1) return x > zero ? one : zero;
  } else if constexpr (op == kGelu) {
    if constexpr (order == 0) return x * Math<T>::normal_cdf(x);
    if constexpr (order == 1) return Math<T>::normal_cdf(x) + x * normal_density(x);
    if constexpr (order == 2) return normal_density(x) * (two - x * x);
  } else if constexpr (op == kGeluTanh) {
    // x s(u) with u = 2 sqrt(2 / pi) (x + 0.044715 x^3), since (1 + tanh(u / 2)) / 2 = s(u)
    const T root = constant<T>(1.59576912160573071176), cubic = constant<T>(0.044715);
    const T square = x * x;
    const Logistic<T> s(root * x * (one + cubic * square));
    const T slope = root * (one + constant<T>(3) * cubic * square);
    if constexpr (order == 0) return x * s.value;
    if constexpr (order == 1) return s.value + x * s.first * slope;
    const T bend = constant<T>(6) * root * cubic * x;
    if constexpr (order == 2) return two * s.first * slope + x * (s.first * bend + s.second * slope * slope);
  } else if constexpr (op == kSilu) {
    const Logistic<T> s(x);
    if constexpr (order == 0) return x * s.value;
    if constexpr (order == 1) return s.value + x * s.first;
    if constexpr (order == 2) return two * s.first + x * s.second;
  } else if constexpr (op == kSoftplus) {
    if constexpr (order == 0) {
      const T size = x < zero ? -x : x;
      return (x > zero ? x : (x < zero ? zero : x)) + Math<T>::log1p(Math<T>::exp(-size));
    }
    const Logistic<T> s(x);
    if constexpr (order == 1) return s.value;
    if constexpr (order == 2) return s.first;
  } else if constexpr (op == kClamp) {
    if constexpr (order == 0) return x < alpha ? alpha : (x > beta ? beta : x);  // NaN stays
    if constexpr (order == 1) return x < alpha ? zero : (x > beta ? zero : one);
  }
  return zero;
}

template <int64_t op, class T>
OSC_FORMULA T binary_formula(T a, T b) {
  if constexpr (op == kAdd) return a + b;
  if constexpr (op == kSubtract) return a - b;
  if constexpr (op == kMultiply) return a * b;
  if constexpr (op == kDivide) return a / b;
  if constexpr (op == kMaximum) return a > b ? a : (b >= a ? b : a + b);  // NaN from either side
  if constexpr (op == kMinimum) return a < b ? a : (b <= a ? b : a + b);
  if constexpr (op == kPow) return Math<T>::pow(a, b);
}

template <int64_t op, class T>
OSC_FORMULA auto compare_formula(T a, T b) {
  if constexpr (op == kEqual) return a == b;
  if constexpr (op == kNotEqual) return a != b;
  if constexpr (op == kLess) return a < b;
  if constexpr (op == kLessEqual) return a <= b;
  if constexpr (op == kGreater) return a > b;
  if constexpr (op == kGreaterEqual) return a >= b;
}

}  // namespace osc
