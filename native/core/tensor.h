// A tensor as kernels see it: a strided view over memory that somebody else owns.
#pragma once
#include <cstdint>

extern "C" {

// The order is part of the ABI and of lib/tensor/dtype.ts: append only.
enum OscDType : int32_t {
  OSC_FLOAT32 = 0,
  OSC_FLOAT64 = 1,
  OSC_INT32 = 2,
  OSC_UINT8 = 3,
  OSC_FLOAT16 = 4,
  OSC_BFLOAT16 = 5,
  OSC_INT8 = 6,
  OSC_INT64 = 7,
  OSC_BOOL = 8,
};

enum { OSC_MAX_RANK = 8 };

struct OscTensor {
  void* data;  // first element of the view; null for an optional tensor that was not given
  int32_t dtype;
  int32_t rank;
  int64_t shape[OSC_MAX_RANK];
  int64_t strides[OSC_MAX_RANK];  // in elements
};

}  // extern "C"

namespace osc {

using Tensor = OscTensor;

inline constexpr int64_t kItemBytes[] = {4, 8, 4, 1, 2, 2, 1, 8, 1};
inline int64_t item_bytes(int32_t dtype) { return kItemBytes[dtype]; }

inline int64_t size_of(const Tensor& t) {
  int64_t n = 1;
  for (int i = 0; i < t.rank; ++i) n *= t.shape[i];
  return n;
}

inline bool is_contiguous(const Tensor& t) {
  int64_t expected = 1;
  for (int i = t.rank - 1; i >= 0; --i) {
    if (t.shape[i] != 1 && t.strides[i] != expected) return false;
    expected *= t.shape[i];
  }
  return true;
}

inline bool present(const Tensor& t) { return t.data != nullptr || size_of(t) == 0; }

template <class T>
T* data(const Tensor& t) {
  return static_cast<T*>(t.data);
}

}  // namespace osc
