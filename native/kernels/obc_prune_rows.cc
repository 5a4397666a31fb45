#include <atomic>
#include <limits>
#include <vector>

#include "../core/parallel.h"
#include "../kernels.h"
#include "compress_checks.h"
#include "obc_counts.h"
#include "obs_rows.h"

namespace osc {
namespace {

constexpr int64_t kNone = -1;

// Which weights of a row may still go: all, or those of groups of m with fewer than n zeros.
class Capacity {
 public:
  Capacity(int64_t columns, int64_t n, int64_t m) : m_(m) {
    if (m == 0) return;
    for (int64_t start = 0; start < columns; start += m) left_.push_back(n * std::min(m, columns - start) / m);
  }
  bool open(int64_t j) const { return m_ == 0 || left_[static_cast<size_t>(j / m_)] > 0; }
  void take(int64_t j) {
    if (m_ > 0) --left_[static_cast<size_t>(j / m_)];
  }

 private:
  int64_t m_;
  std::vector<int64_t> left_;
};

// The cheapest weight that may go; of equal ones the first.
int64_t cheapest(const ObsRow& row, const Capacity& capacity, int64_t columns, double* cost) {
  int64_t best = kNone;
  for (int64_t j = 0; j < columns; ++j) {
    if (!row.active(j) || !capacity.open(j)) continue;
    const double one = row.cost(j, 0);
    if (best != kNone && !(one < *cost)) continue;
    best = j;
    *cost = one;
  }
  return best;
}

class Pruner {
 public:
  Pruner(ObcPruneRowsArgs& args, const ObsMatrix& inverse, const Context& context)
      : args_(args), inverse_(inverse), context_(context), rows_(args.weight.shape[0]), columns_(args.weight.shape[1]) {}

  Status run() {
    std::vector<int64_t> counts(static_cast<size_t>(rows_), columns_);  // n:m: as far as the capacity goes
    if (args_.m == 0) {
      costs_.resize(static_cast<size_t>(rows_ * columns_));
      OSC_TRY(each_row([&](ObsRow& row, int64_t r) { return remove(row, r, columns_, costs_.data() + r * columns_, nullptr); }));
      counts = obc_counts(costs_, rows_, columns_, args_.zeros);
    }
    losses_.assign(static_cast<size_t>(rows_), 0);
    OSC_TRY(each_row([&](ObsRow& row, int64_t r) {
      double* loss = &losses_[static_cast<size_t>(r)];
      if (!remove(row, r, counts[static_cast<size_t>(r)], nullptr, loss)) return false;
      for (int64_t j = 0; j < columns_; ++j) {
        data<float>(args_.pruned)[r * columns_ + j] = static_cast<float>(row.weight(j));
        data<uint8_t>(args_.mask)[r * columns_ + j] = row.active(j);
      }
      return true;
    }));
    args_.loss = 0;
    for (const double loss : losses_) args_.loss += loss;
    return ok();
  }

 private:
  // Removes up to `count` weights of a row, greedily; the cost of each to `costs`, their sum to `loss`.
  bool remove(ObsRow& row, int64_t r, int64_t count, double* costs, double* loss) const {
    row.start(data<float>(args_.weight) + r * args_.weight.strides[0]);
    Capacity capacity(columns_, args_.n, args_.m);
    for (int64_t step = 0; step < count; ++step) {
      double cost = 0;
      const int64_t p = cheapest(row, capacity, columns_, &cost);
      if (p == kNone) break;
      if (!row.settle(p, 0)) return false;
      capacity.take(p);
      if (costs) costs[step] = cost;
      if (loss) *loss += cost;
    }
    return true;
  }

  template <class F>
  Status each_row(F&& f) {
    std::atomic<bool> indefinite{false}, no_memory{false};
    const bool done = parallel_for(rows_, context_, [&](int64_t r) {
      ObsRow row(inverse_);
      if (!row.allocated()) no_memory = true;
      else if (!f(row, r)) indefinite = true;
    });
    if (no_memory) return fail(OSC_OUT_OF_MEMORY, columns_ * columns_ * 8, "no memory for the inverse of a row");
    if (indefinite) return fail(OSC_NOT_POSITIVE_DEFINITE, 0, "the inverse lost its definiteness: use more damping");
    return done ? ok() : aborted();
  }

  ObcPruneRowsArgs& args_;
  const ObsMatrix& inverse_;
  const Context& context_;
  const int64_t rows_, columns_;
  std::vector<double> costs_, losses_;
};

}  // namespace

Status obc_prune_rows(ObcPruneRowsArgs& args, const Context& context) {
  OSC_TRY(check(args));
  ObsMatrix matrix;
  OSC_TRY(matrix.load(args.gram, args.damping));
  OSC_TRY(matrix.invert());
  return Pruner(args, matrix, context).run();
}

}  // namespace osc
