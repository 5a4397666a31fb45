// This work is based on: E. Frantar et al., "Optimal Brain Compression", 2022 (ExactOBS), as on the CPU. A block of threads a row.
#include "common/obs_matrix.cuh"
#include "kernels.h"
#include "kernels/compress_checks.h"
#include "kernels/obc_counts.h"

namespace osc {
namespace {

struct Pruning {
  const float* weight;  // of the first row in flight
  int64_t stride, first, n, m;
  const int64_t* counts;  // [rows] how many may go; null: as many as the groups let
  double* costs;          // [rows, columns] of each removal, or null: then the results are stored
  float* pruned;
  uint8_t* mask;
  double* losses;
  int32_t* left;  // [rows in flight, groups] how many of each group may still go; null without groups
  int64_t groups;
  int32_t* indefinite;
};

OSC_GLOBAL __launch_bounds__(kObsThreads) remove_weights(Pruning work, const double* inverse, const uint8_t* dead, int64_t columns,
                                                         double* numbers, uint8_t* active) {
  const ObsRow row = row_of_block(numbers, active, columns);
  const int64_t r = work.first + blockIdx.x, most = work.counts ? work.counts[r] : columns;
  int32_t* left = work.left ? work.left + blockIdx.x * work.groups : nullptr;
  for (int64_t g = threadIdx.x; left && g < work.groups; g += kObsThreads) {
    left[g] = static_cast<int32_t>(work.n * min(work.m, columns - g * work.m) / work.m);
  }
  row.start(inverse, dead, work.weight + blockIdx.x * work.stride);
  double loss = 0;
  for (int64_t step = 0; step < most; ++step) {
    ObsCandidate best{0, -1, false};
    for (int64_t j = threadIdx.x; j < columns; j += kObsThreads) {
      if (!row.active[j] || (left && left[j / work.m] == 0)) continue;
      const ObsCandidate one{row.cost(j, 0), j, false};
      if (goes_before(one, best)) best = one;
    }
    best = first_of_block(best);
    if (best.index < 0) break;
    if (!row.settle(best.index, 0)) {
      if (threadIdx.x == 0) atomicOr(work.indefinite, 1);
      return;
    }
    if (left && threadIdx.x == 0) --left[best.index / work.m];
    if (work.costs && threadIdx.x == 0) work.costs[r * columns + step] = best.cost;
    loss += best.cost;
    __syncthreads();
  }
  if (work.costs) return;
  if (threadIdx.x == 0) work.losses[r] = loss;
  for (int64_t j = threadIdx.x; j < columns; j += kObsThreads) {
    work.pruned[r * columns + j] = static_cast<float>(row.weight[j]);
    work.mask[r * columns + j] = row.active[j];
  }
}

class Pruner {
 public:
  Pruner(ObcPruneRowsArgs& args, const ObsMatrix& inverse, const Context& context)
      : args_(args),
        inverse_(inverse),
        context_(context),
        rows_(args.weight.shape[0]),
        columns_(args.weight.shape[1]),
        groups_(args.m > 0 ? blocks_for(columns_, args.m) : 0),
        flight_(rows_, columns_),
        left_(flight_.count() * groups_),
        indefinite_(1) {}

  Status run() {
    OSC_TRY(flight_.allocate());
    OSC_TRY(left_.status());
    OSC_TRY(indefinite_.status());
    OSC_TRY(set_zero(indefinite_.get(), indefinite_.bytes()));
    DeviceBuffer<double> losses(rows_), costs(args_.m == 0 ? rows_ * columns_ : 0);
    DeviceBuffer<int64_t> counts(rows_);
    if (!losses) return losses.status();
    if (!costs) return costs.status();
    if (!counts) return counts.status();
    if (args_.m == 0) {
      OSC_TRY(pass(nullptr, costs.get(), nullptr));
      std::vector<double> host(static_cast<size_t>(rows_ * columns_));
      OSC_TRY(copy_to_host(host.data(), costs.get(), costs.bytes()));
      const std::vector<int64_t> chosen = obc_counts(host, rows_, columns_, args_.zeros);
      OSC_TRY(copy_to_device(counts.get(), chosen.data(), counts.bytes()));
    }
    OSC_TRY(pass(args_.m == 0 ? counts.get() : nullptr, nullptr, losses.get()));
    std::vector<double> host(static_cast<size_t>(rows_));
    OSC_TRY(copy_to_host(host.data(), losses.get(), losses.bytes()));
    for (const double loss : host) args_.loss += loss;
    return ok();
  }

 private:
  // All rows: the costs of their removals, or the removals themselves.
  Status pass(const int64_t* counts, double* costs, double* losses) {
    const int64_t stride = args_.weight.strides[0];
    for (int64_t first = 0; first < rows_; first += flight_.count()) {
      if (cancelled(context_)) return aborted();
      const Pruning work{data<const float>(args_.weight) + first * stride, stride, first, args_.n, args_.m, counts, costs,
                         data<float>(args_.pruned), data<uint8_t>(args_.mask), losses, groups_ > 0 ? left_.get() : nullptr,
                         groups_, indefinite_.get()};
      OSC_TRY(launch(remove_weights, dim3(static_cast<unsigned>(std::min(flight_.count(), rows_ - first))), dim3(kObsThreads), 0,
                     work, inverse_.data(), inverse_.dead(), columns_, flight_.numbers(), flight_.active()));
    }
    int32_t lost;
    OSC_TRY(read_value(indefinite_.get(), &lost));
    return lost ? lost_definiteness() : ok();
  }

  ObcPruneRowsArgs& args_;
  const ObsMatrix& inverse_;
  const Context& context_;
  const int64_t rows_, columns_, groups_;
  ObsRows flight_;
  DeviceBuffer<int32_t> left_, indefinite_;
};

}  // namespace

Status obc_prune_rows(ObcPruneRowsArgs& args, const Context& context) {
  OSC_TRY(check(args));
  ObsMatrix matrix;
  OSC_TRY(matrix.load(args.gram, args.damping));
  OSC_TRY(matrix.invert());
  args.loss = 0;
  if (size_of(args.weight) == 0) return ok();
  return Pruner(args, matrix, context).run();
}

}  // namespace osc
