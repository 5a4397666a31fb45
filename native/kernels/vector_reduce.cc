#include "../core/memory.h"
#include "../kernels.h"
#include "../simd/flat.h"
#include "vector_parts.h"

namespace osc {
namespace {

enum Reduction : int64_t { kSum = 0, kDot = 1, kNorm = 2, kLargest = 3 };  // the order of lib/ops/vector-reduce.ts

constexpr int64_t kRowsPerTile = 16;  // a part of y stays in the cache for them

template <class T>
double part_of(int64_t operation, const T* x, const T* y, int64_t count) {
  const VectorSimd<T>& simd = vector_simd<T>();
  switch (operation) {
    case kSum: return simd.sum(x, count);
    case kDot: return simd.dot(x, y, count);
    case kNorm: return simd.dot(x, x, count);
    default: return simd.largest(x, count);
  }
}

double combine(int64_t operation, double* parts, int64_t count) {
  if (operation == kNorm) return std::sqrt(tree_sum(parts, count));
  if (operation != kLargest) return tree_sum(parts, count);
  double largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (std::isnan(parts[i])) return parts[i];
    largest = std::max(largest, parts[i]);
  }
  return largest;
}

}  // namespace

Status vector_reduce(VectorReduceArgs& args, const Context& context) {
  const Tensor &x = args.x, &y = args.y;
  const int64_t rows = size_of(args.result), size = rows ? size_of(x) / rows : 0;
  if (args.result.dtype != OSC_FLOAT64 || !is_contiguous(args.result) || rows * size != size_of(x)) {
    return fail(OSC_ARGUMENT, 0, "result must be float64, one for each row");
  }
  if (rows == 0) return ok();
  const bool matrix = x.rank == 2 && x.shape[0] == rows && (x.strides[1] == 1 || size < 2);
  if (!matrix && !is_contiguous(x)) return fail(OSC_ARGUMENT, 0, "x must have contiguous rows");
  if (args.operation == kDot && (size_of(y) != size || y.dtype != x.dtype || !is_contiguous(y))) {
    return fail(OSC_ARGUMENT, 0, "y must be a vector of the length and dtype of a row");
  }
  const int64_t stride = matrix ? x.strides[0] : size, parts = parts_of(size);
  const Buffer<double> sums(rows * parts);
  if (!sums) return fail(OSC_OUT_OF_MEMORY, sums.bytes(), "no memory for partial sums");
  const int64_t groups = (rows + kRowsPerTile - 1) / kRowsPerTile;
  return with_real(x.dtype, [&](auto type) {
    using T = decltype(type);
    const bool done = parallel_for(groups * parts, context, [&](int64_t tile) {
      const int64_t part = tile % parts, start = part * kVectorPart, count = std::min(kVectorPart, size - start);
      const int64_t first = tile / parts * kRowsPerTile;
      for (int64_t row = first; row < std::min(rows, first + kRowsPerTile); ++row) {
        sums[row * parts + part] =
            part_of<T>(args.operation, data<T>(x) + row * stride + start, data<T>(y) + start, count);
      }
    });
    if (!done) return aborted();
    for (int64_t row = 0; row < rows; ++row) {
      data<double>(args.result)[row] = combine(args.operation, sums.get() + row * parts, parts);
    }
    return ok();
  });
}

}  // namespace osc
