// This work is based on: B. Hassibi, D. Stork, "Optimal Brain Surgeon", 1993, as on the CPU: one factorization a row.
#include "common/obs_matrix.cuh"
#include "common/reduce.cuh"
#include "kernels.h"
#include "kernels/compress_checks.h"

namespace osc {
namespace {

// a [count, count] = the rows and columns of h that are kept.
struct GatherKept {
  const double* h;
  int64_t n, count;
  const int32_t* kept;
  double* a;
  __device__ void operator()(int64_t at) const { a[at] = h[kept[at / count] * n + kept[at % count]]; }
};

// gap = the weights that go, 0 where one stays.
struct GapOfPruned {
  const float* weight;
  int64_t ldw, ldm, n;
  const uint8_t *mask, *dead;
  double* gap;
  __device__ void operator()(int64_t at) const {
    const int64_t row = at / n, j = at % n;
    gap[at] = mask[row * ldm + j] || dead[j] ? 0.0 : static_cast<double>(weight[row * ldw + j]);
  }
};

// answer[i] = the part of H gap in row kept[i]. A block an element.
OSC_GLOBAL answer_of(const double* h, int64_t n, const int32_t* kept, const double* gap, double* answer) {
  const double* row = h + kept[blockIdx.x] * n;
  double sum = 0;
  for (int64_t j = threadIdx.x; j < n; j += kObsThreads) sum += row[j] * gap[j];
  sum = block_sum(sum);
  if (threadIdx.x == 0) answer[blockIdx.x] = sum;
}

struct ScatterAnswer {
  const double* answer;
  const int32_t* kept;
  double* gap;
  __device__ void operator()(int64_t i) const { gap[kept[i]] = -answer[i]; }
};

// losses[row] = 1/2 gap (H gap), a block a row.
OSC_GLOBAL half_dots(const double* gap, const double* product, int64_t n, double* losses) {
  double sum = 0;
  for (int64_t j = threadIdx.x; j < n; j += kObsThreads) sum += gap[blockIdx.x * n + j] * product[blockIdx.x * n + j];
  sum = block_sum(sum);
  if (threadIdx.x == 0) losses[blockIdx.x] = 0.5 * sum;
}

struct StoreRefitted {
  const float* weight;
  int64_t ldw, ldm, n;
  const uint8_t *mask, *dead;
  const double* gap;
  float* refitted;
  __device__ void operator()(int64_t at) const {
    const int64_t row = at / n, j = at % n;
    const double w = dead[j] ? 0.0 : static_cast<double>(weight[row * ldw + j]);
    refitted[at] = mask[row * ldm + j] ? static_cast<float>(w - gap[at]) : 0.0F;
  }
};

class Refit {
 public:
  Refit(ObsRefitRowsArgs& args, const ObsMatrix& matrix)
      : args_(args),
        h_(matrix.data()),
        dead_(matrix.dead()),
        rows_(args.weight.shape[0]),
        n_(args.weight.shape[1]),
        gap_(rows_ * n_),
        product_(rows_ * n_),
        a_(n_ * n_),
        answer_(n_),
        losses_(rows_),
        kept_(n_),
        info_(rows_) {}

  Status run(const Context& context) {
    for (const DeviceBuffer<double>* buffer : {&gap_, &product_, &a_, &answer_, &losses_}) OSC_TRY(buffer->status());
    OSC_TRY(kept_.status());
    OSC_TRY(info_.status());
    const Tensor &weight = args_.weight, &mask = args_.mask;
    const float* w = data<const float>(weight);
    const uint8_t* m = data<const uint8_t>(mask);
    OSC_TRY(set_zero(info_.get(), info_.bytes()));
    OSC_TRY(launch_each(GapOfPruned{w, weight.strides[0], mask.strides[0], n_, m, dead_, gap_.get()}, rows_ * n_));
    std::vector<uint8_t> of_row(static_cast<size_t>(n_));
    for (int64_t r = 0; r < rows_; ++r) {
      if (cancelled(context)) return aborted();
      OSC_TRY(copy_to_host(of_row.data(), m + r * mask.strides[0], n_));
      OSC_TRY(solve(r, of_row));
    }
    std::vector<int32_t> failed(static_cast<size_t>(rows_));
    OSC_TRY(copy_to_host(failed.data(), info_.get(), info_.bytes()));
    for (const int32_t one : failed) {
      if (one != 0) return fail(OSC_NOT_POSITIVE_DEFINITE, 0, "the damped matrix of the kept weights is not positive definite");
    }
    OSC_TRY(gemm(Transpose::kNo, Transpose::kNo, rows_, n_, n_, 1, gap_.get(), n_, h_, n_, 0, product_.get(), n_));
    OSC_TRY(launch(half_dots, dim3(static_cast<unsigned>(rows_)), dim3(kObsThreads), 0, gap_.get(), product_.get(), n_,
                   losses_.get()));
    OSC_TRY(launch_each(StoreRefitted{w, weight.strides[0], mask.strides[0], n_, m, dead_, gap_.get(), data<float>(args_.refitted)},
                        rows_ * n_));
    std::vector<double> losses(static_cast<size_t>(rows_));
    OSC_TRY(copy_to_host(losses.data(), losses_.get(), losses_.bytes()));
    for (const double loss : losses) args_.loss += loss;
    return ok();
  }

 private:
  // The kept weights K of row r answer the pruned ones S: H_KK^-1 H_KS w_S, with its sign to the gap.
  Status solve(int64_t r, const std::vector<uint8_t>& mask) {
    std::vector<int32_t> kept;
    for (int64_t j = 0; j < n_; ++j) {
      if (mask[static_cast<size_t>(j)]) kept.push_back(static_cast<int32_t>(j));
    }
    const int64_t count = static_cast<int64_t>(kept.size());
    args_.zeros += n_ - count;
    if (count == 0) return ok();
    double* gap = gap_.get() + r * n_;
    OSC_TRY(copy_to_device(kept_.get(), kept.data(), count * static_cast<int64_t>(sizeof(int32_t))));
    OSC_TRY(launch_each(GatherKept{h_, n_, count, kept_.get(), a_.get()}, count * count));
    OSC_TRY(potrf(count, a_.get(), count, info_.get() + r));
    OSC_TRY(launch(answer_of, dim3(static_cast<unsigned>(count)), dim3(kObsThreads), 0, h_, n_, kept_.get(), gap, answer_.get()));
    OSC_TRY(trsm(Side::kLeft, Triangle::kLower, Transpose::kNo, count, 1, 1, a_.get(), count, answer_.get(), 1));
    OSC_TRY(trsm(Side::kLeft, Triangle::kLower, Transpose::kYes, count, 1, 1, a_.get(), count, answer_.get(), 1));
    return launch_each(ScatterAnswer{answer_.get(), kept_.get(), gap}, count);
  }

  ObsRefitRowsArgs& args_;
  const double* h_;
  const uint8_t* dead_;
  int64_t rows_, n_;
  DeviceBuffer<double> gap_, product_, a_, answer_, losses_;
  DeviceBuffer<int32_t> kept_, info_;
};

}  // namespace

Status obs_refit_rows(ObsRefitRowsArgs& args, const Context& context) {
  OSC_TRY(check(args));
  ObsMatrix matrix;
  OSC_TRY(matrix.load(args.gram, args.damping));
  args.loss = 0;
  args.zeros = 0;
  if (size_of(args.weight) == 0) return ok();
  return Refit(args, matrix).run(context);
}

}  // namespace osc
