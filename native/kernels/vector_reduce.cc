#include "../core/memory.h"
#include "../simd/flat.h"
#include "vector_check.h"
#include "vector_parts.h"

namespace osc {
namespace {

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
  VectorRows all;
  OSC_TRY(check_vector_reduce(args, &all));
  const auto [rows, size, stride] = all;
  const int64_t parts = parts_of(size);
  const Buffer<double> sums(rows * parts);
  if (!sums) return fail(OSC_OUT_OF_MEMORY, sums.bytes(), "no memory for partial sums");
  const int64_t groups = (rows + kRowsPerTile - 1) / kRowsPerTile;
  return with_real(args.x.dtype, [&, rows = rows, size = size, stride = stride](auto type) {
    using T = decltype(type);
    const bool done = parallel_for(groups * parts, context, [&](int64_t tile) {
      const int64_t part = tile % parts, start = part * kVectorPart, count = std::min(kVectorPart, size - start);
      const int64_t first = tile / parts * kRowsPerTile;
      for (int64_t row = first; row < std::min(rows, first + kRowsPerTile); ++row) {
        sums[row * parts + part] =
            part_of<T>(args.operation, data<T>(args.x) + row * stride + start, data<T>(args.y) + start, count);
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
