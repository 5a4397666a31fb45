#include "common/gpu.cuh"
#include "common/memory.h"
#include "common/reduce.cuh"
#include "kernels/vector_check.h"

namespace osc {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostParts = 1024, kMostBlocks = 1 << 22;  // of a row, and of all rows

// Block (row, part): its share of the row's terms.
template <Reduction operation, class T>
OSC_GLOBAL reduce_parts(const T* x, const T* y, int64_t size, int64_t stride, int64_t parts, double* partials) {
  const int64_t row = blockIdx.x / parts, part = blockIdx.x % parts;
  const T* values = x + row * stride;
  double result = 0;
  for (int64_t i = part * kThreads + threadIdx.x; i < size; i += parts * kThreads) {
    const double value = values[i];
    if constexpr (operation == kLargest) result = Largest()(result, fabs(value));
    else if constexpr (operation == kSum) result += value;
    else result = fma(value, operation == kDot ? static_cast<double>(y[i]) : value, result);
  }
  result = operation == kLargest ? block_max(result, 0.0) : block_sum(result);
  if (threadIdx.x == 0) partials[blockIdx.x] = result;
}

template <Reduction operation>
OSC_GLOBAL finish_rows(const double* partials, int64_t parts, double* result) {
  double value = 0;
  for (int64_t p = threadIdx.x; p < parts; p += kThreads) {
    const double part = partials[blockIdx.x * parts + p];
    value = operation == kLargest ? Largest()(value, part) : value + part;
  }
  value = operation == kLargest ? block_max(value, 0.0) : block_sum(value);
  if (threadIdx.x == 0) result[blockIdx.x] = operation == kNorm ? sqrt(value) : value;
}

template <Reduction operation, class T>
Status reduce(const VectorReduceArgs& args, int64_t rows, int64_t size, int64_t stride) {
  const int64_t most = rows < kMostBlocks / kMostParts ? kMostParts : blocks_for(kMostBlocks, rows);
  const int64_t wanted = blocks_for(size, 16 * kThreads), parts = wanted < 1 ? 1 : wanted < most ? wanted : most;
  DeviceBuffer<double> partials(rows * parts);
  if (!partials) return partials.status();
  OSC_TRY(launch(reduce_parts<operation, T>, static_cast<unsigned>(rows * parts), kThreads, 0, data<T>(args.x),
                 data<T>(args.y), size, stride, parts, partials.get()));
  return launch(finish_rows<operation>, static_cast<unsigned>(rows), kThreads, 0, partials.get(), parts,
                data<double>(args.result));
}

}  // namespace

Status vector_reduce(VectorReduceArgs& args, const Context&) {
  VectorRows rows;
  OSC_TRY(check_vector_reduce(args, &rows));
  if (rows.count == 0) return ok();
  return with_real(args.x.dtype, [&](auto type) {
    using T = decltype(type);
    switch (args.operation) {
      case kSum: return reduce<kSum, T>(args, rows.count, rows.size, rows.stride);
      case kDot: return reduce<kDot, T>(args, rows.count, rows.size, rows.stride);
      case kNorm: return reduce<kNorm, T>(args, rows.count, rows.size, rows.stride);
      default: return reduce<kLargest, T>(args, rows.count, rows.size, rows.stride);
    }
  });
}

}  // namespace osc
