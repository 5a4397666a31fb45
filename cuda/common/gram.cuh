// What the Gram kernels share: the sum of S^T S over one chunk of tokens, S in the staging buffer. Every chunk goes through
// it, wherever its tokens were, so that the products see one layout and the cutting into batches changes no bit.
#pragma once
#include "common/blas.h"
#include "common/gpu.cuh"
#include "common/memory.h"
#include "kernels/checks.h"

namespace osc {
namespace {

// accumulator += product in the lower halves of `groups` matrices [n, n].
OSC_GLOBAL add_lower(double* accumulator, const float* product, int64_t groups, int64_t n) {
  const int64_t column = global_thread();
  for (int64_t row = blockIdx.y; row < n; row += gridDim.y) {
    if (column > row) continue;
    for (int64_t group = blockIdx.z; group < groups; group += gridDim.z) {
      const int64_t at = (group * n + row) * n + column;
      accumulator[at] += static_cast<double>(product[at]);
    }
  }
}

inline dim3 grid_of_rows(int64_t columns, int64_t rows, int64_t matrices = 1) {
  const auto clip = [](int64_t count) { return static_cast<unsigned>(count < 65535 ? count : 65535); };
  return dim3(static_cast<unsigned>(blocks_for(columns, 256)), clip(rows), clip(matrices));
}

// Adds chunks of `kGramChunk` tokens to the lower halves of accumulators. float32 sums of products within a chunk; their sums
// in the accumulator's dtype. Workspace: groups * n * n floats for a float64 accumulator.
class ChunkSum {
 public:
  ChunkSum(const Tensor& accumulator, int64_t groups, int64_t n)
      : accumulator_(accumulator), groups_(groups), n_(n), product_(accumulator.dtype == OSC_FLOAT64 ? groups * n * n : 0) {}
  Status allocated() const { return product_.status(); }

  Status add(const float* staging) const {
    if (accumulator_.dtype == OSC_FLOAT32) {
      for (int64_t group = 0; group < groups_; ++group) {
        OSC_TRY(syrk(Transpose::kYes, n_, kGramChunk, 1.0F, staging + group * kGramChunk * n_, n_, 1.0F,
                     data<float>(accumulator_) + group * n_ * n_, n_));
      }
      return ok();
    }
    if (groups_ == 1) {
      OSC_TRY(syrk(Transpose::kYes, n_, kGramChunk, 1.0F, staging, n_, 0.0F, product_.get(), n_));
    } else {
      const int64_t rows = kGramChunk * n_;
      OSC_TRY(gemm_batched(Transpose::kYes, Transpose::kNo, n_, n_, kGramChunk, 1.0F, staging, n_, rows, staging, n_, rows, 0.0F,
                           product_.get(), n_, n_ * n_, groups_));
    }
    return launch(add_lower, grid_of_rows(n_, n_, groups_), dim3(256), 0, data<double>(accumulator_), product_.get(), groups_,
                  n_);
  }

 private:
  const Tensor& accumulator_;
  int64_t groups_, n_;
  DeviceBuffer<float> product_;
};

}  // namespace
}  // namespace osc
