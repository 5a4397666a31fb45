#include <atomic>
#include <vector>

#include "../core/parallel.h"
#include "../kernels.h"
#include "../simd/grid.h"
#include "../simd/simd.h"
#include "checks.h"
#include "compress_checks.h"
#include "obs_rows.h"

namespace osc {
namespace {

struct Point {
  double code, value;
};

Point nearest(double w, const Grid& grid, double maxq) {
  const double code = std::clamp(std::nearbyint(w / static_cast<double>(grid.scale)) + static_cast<double>(grid.zero), 0.0, maxq);
  return {code, static_cast<double>(grid.scale) * (code - static_cast<double>(grid.zero))};
}

class Quantizer {
 public:
  explicit Quantizer(ObqQuantizeRowsArgs& args)
      : args_(args),
        spec_{args.bits, args.sym != 0, args.mse != 0, args.float16_scales != 0},
        groups_(args.group_size, args.weight.shape[1]),
        rows_(args.weight.shape[0]),
        columns_(args.weight.shape[1]) {}

  // All weights of a row, the cheapest next, or from the left. False when the matrix has lost its definiteness.
  bool quantize(ObsRow& row, int64_t r, double* loss) const {
    row.start(data<float>(args_.weight) + r * args_.weight.strides[0]);
    const std::vector<Grid> grids = grids_of(row, r);
    const double maxq = static_cast<double>(spec_.maxq());
    for (int64_t step = 0; step < columns_; ++step) {
      const int64_t p = args_.greedy ? next(row, grids, maxq) : step;
      const Point point = nearest(row.weight(p), grids[static_cast<size_t>(p / groups_.size)], maxq);
      *loss += row.cost(p, point.value);
      data<uint8_t>(args_.codes)[r * columns_ + p] = static_cast<uint8_t>(point.code);
      if (!row.settle(p, point.value)) return false;
    }
    return true;
  }

  const Groups& groups() const { return groups_; }

 private:
  std::vector<Grid> grids_of(const ObsRow& row, int64_t r) const {
    float* scales = data<float>(args_.scales);
    uint8_t* zeros = data<uint8_t>(args_.zeros);
    std::vector<Grid> grids;
    std::vector<float> values(static_cast<size_t>(columns_));
    for (int64_t j = 0; j < columns_; ++j) values[static_cast<size_t>(j)] = static_cast<float>(row.weight(j));
    for (int64_t g = 0; g < groups_.count; ++g) {
      const int64_t from = g * groups_.size, at = g * rows_ + r;
      if (!args_.given_grids) {
        const Grid grid = simd().row_grid(spec_, values.data() + from, std::min(groups_.size, columns_ - from));
        scales[at] = grid.scale;
        zeros[at] = static_cast<uint8_t>(grid.zero);
      }
      grids.push_back({scales[at], static_cast<float>(zeros[at])});
    }
    return grids;
  }

  // A weight that updates have pushed off its grid goes at once, before it is pushed further; else the cheapest.
  int64_t next(const ObsRow& row, const std::vector<Grid>& grids, double maxq) const {
    int64_t best = -1;
    double least = 0;
    bool outlier = false;
    for (int64_t j = 0; j < columns_; ++j) {
      if (!row.active(j)) continue;
      const Grid& grid = grids[static_cast<size_t>(j / groups_.size)];
      const double q = nearest(row.weight(j), grid, maxq).value, cost = row.cost(j, q);
      const bool out = std::fabs(row.weight(j) - q) > 0.5000001 * static_cast<double>(grid.scale);
      if (best >= 0 && (outlier > out || (outlier == out && !(cost < least)))) continue;
      best = j;
      least = cost;
      outlier = out;
    }
    return best;
  }

  ObqQuantizeRowsArgs& args_;
  const GridSpec spec_;
  const Groups groups_;
  const int64_t rows_, columns_;
};

}  // namespace

Status obq_quantize_rows(ObqQuantizeRowsArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const int64_t rows = args.weight.shape[0], columns = args.weight.shape[1];
  const Quantizer quantizer(args);
  ObsMatrix matrix;
  OSC_TRY(matrix.load(args.gram, args.damping));
  OSC_TRY(matrix.invert());
  std::vector<double> losses(static_cast<size_t>(rows));
  std::atomic<bool> indefinite{false}, no_memory{false};
  const bool done = parallel_for(rows, context, [&](int64_t r) {
    ObsRow row(matrix);
    if (!row.allocated()) no_memory = true;
    else if (!quantizer.quantize(row, r, &losses[static_cast<size_t>(r)])) indefinite = true;
  });
  if (no_memory) return fail(OSC_OUT_OF_MEMORY, columns * columns * 8, "no memory for the inverse of a row");
  if (indefinite) return fail(OSC_NOT_POSITIVE_DEFINITE, 0, "the inverse lost its definiteness: use more damping");
  if (!done) return aborted();
  args.loss = 0;
  for (const double loss : losses) args.loss += loss;
  return ok();
}

}  // namespace osc
