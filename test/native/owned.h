// Tensors for native tests: each owns memory of exactly its size, so that a sanitizer sees every step outside.
#pragma once
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <vector>

#include "backend/kernel_table.h"
#include "core/tensor.h"

namespace osc::test {

template <class T>
constexpr int32_t dtype_of() {
  if constexpr (std::is_same_v<T, double>) return OSC_FLOAT64;
  else if constexpr (std::is_same_v<T, int32_t>) return OSC_INT32;
  else if constexpr (std::is_same_v<T, uint8_t>) return OSC_UINT8;
  else if constexpr (std::is_same_v<T, uint16_t>) return OSC_FLOAT16;
  else return OSC_FLOAT32;
}

template <class T>
class Owned {
 public:
  explicit Owned(std::vector<int64_t> shape) : view_{} {
    int64_t size = 1;
    for (int64_t d : shape) size *= d;
    size_ = size;
    values_ = std::make_unique<T[]>(static_cast<size_t>(size));
    view_.data = values_.get();
    view_.dtype = dtype_of<T>();
    view_.rank = static_cast<int32_t>(shape.size());
    for (int d = view_.rank - 1, stride = 1; d >= 0; --d) {
      view_.shape[d] = shape[static_cast<size_t>(d)];
      view_.strides[d] = stride;
      stride *= static_cast<int>(view_.shape[d]);
    }
  }

  template <class F>
  Owned& fill(F&& value_at) {
    for (int64_t i = 0; i < size_; ++i) values_[static_cast<size_t>(i)] = static_cast<T>(value_at(i));
    return *this;
  }

  T& operator[](int64_t i) const { return values_[static_cast<size_t>(i)]; }
  int64_t size() const { return size_; }
  const Tensor& view() const { return view_; }
  bool same_bits(const Owned& other) const {
    return size_ == other.size_ &&
           std::memcmp(values_.get(), other.values_.get(), static_cast<size_t>(size_) * sizeof(T)) == 0;
  }

 private:
  int64_t size_;
  std::unique_ptr<T[]> values_;
  Tensor view_;
};

// Numbers in [-1, 1) that are the same everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2654435769u + 1) {}
  double next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>(static_cast<int64_t>(state_ >> 11)) / static_cast<double>(int64_t{1} << 52) - 1.0;
  }

 private:
  uint64_t state_;
};

// Runs a kernel through the C table, as the binding does.
template <class Args>
Status run(const char* name, Args& args, const std::atomic<int32_t>* cancelled = nullptr) {
  const Context context{cancelled, nullptr, nullptr};
  return cpu_kernel_table().kernels[kernel_index(name)].run(&args, &context);
}

}  // namespace osc::test
