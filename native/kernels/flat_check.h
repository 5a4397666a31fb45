// What kernels over flat vectors check before they touch anything; on every device.
#pragma once
#include <initializer_list>

#include "../core/status.h"
#include "../core/tensor.h"

namespace osc {

struct NamedVector {
  const char* name;
  const Tensor& tensor;
};

inline bool share_memory(const Tensor& a, const Tensor& b) {
  const char *from_a = data<char>(a), *from_b = data<char>(b);
  return from_a < from_b + size_of(b) * item_bytes(b.dtype) && from_b < from_a + size_of(a) * item_bytes(a.dtype);
}

// All contiguous float32 of as many elements as the first, no two sharing memory.
inline Status check_flat(std::initializer_list<NamedVector> vectors) {
  const NamedVector& first = *vectors.begin();
  const int64_t size = size_of(first.tensor);
  for (auto a = vectors.begin(); a != vectors.end(); ++a) {
    if (a->tensor.dtype != OSC_FLOAT32 || !is_contiguous(a->tensor)) {
      return fail(OSC_ARGUMENT, 0, "%s must be contiguous float32", a->name);
    }
    if (size_of(a->tensor) != size) return fail(OSC_ARGUMENT, 0, "%s must have the size of %s", a->name, first.name);
    for (auto b = vectors.begin(); size > 0 && b != a; ++b) {
      if (share_memory(a->tensor, b->tensor)) return fail(OSC_ARGUMENT, 0, "%s and %s share memory", b->name, a->name);
    }
  }
  return ok();
}

inline bool given(const Tensor& optional) { return optional.data != nullptr && size_of(optional) > 0; }

// One float32 for each row and each column of a matrix of `size` elements; or neither.
inline Status check_factors(const Tensor& rows, const Tensor& columns, int64_t size) {
  if (size == 0 || (!given(rows) && !given(columns))) return ok();
  for (const Tensor* factor : {&rows, &columns}) {
    if (!given(*factor) || factor->dtype != OSC_FLOAT32 || !is_contiguous(*factor)) {
      return fail(OSC_ARGUMENT, 0, "rows and columns must be contiguous float32");
    }
  }
  if (size_of(rows) * size_of(columns) != size) return fail(OSC_ARGUMENT, 0, "rows and columns must fit theta");
  return ok();
}

}  // namespace osc
