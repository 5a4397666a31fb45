// This work is based on: E. Frantar et al., "Optimal Brain Compression", 2022 (OBQ), as on the CPU. A block of threads a row.
#include "common/obs_matrix.cuh"
#include "common/row_grids.cuh"
#include "kernels.h"
#include "kernels/compress_checks.h"

namespace osc {
namespace {

struct Point {
  double code, value;
};

struct Quantization {
  const float* weight;  // of the first row in flight
  int64_t stride, first, rows, group_size;
  const float* scales;  // [groups, rows]
  const uint8_t* zeros;
  double maxq;
  bool greedy;
  uint8_t* codes;  // [rows, columns]
  double* losses;  // [rows]
  int32_t* indefinite;

  __device__ double scale(int64_t row, int64_t j) const { return static_cast<double>(scales[j / group_size * rows + row]); }
  __device__ Point nearest(int64_t row, int64_t j, double w) const {
    const double s = scale(row, j), zero = static_cast<double>(zeros[j / group_size * rows + row]);
    const double code = fmin(fmax(nearbyint(w / s) + zero, 0.0), maxq);
    return {code, s * (code - zero)};
  }
};

OSC_GLOBAL __launch_bounds__(kObsThreads) quantize_rows(Quantization work, const double* inverse, const uint8_t* dead, int64_t n,
                                                        double* numbers, uint8_t* active) {
  const ObsRow row = row_of_block(numbers, active, n);
  const int64_t r = work.first + blockIdx.x;
  row.start(inverse, dead, work.weight + blockIdx.x * work.stride);
  double loss = 0;
  for (int64_t step = 0; step < n; ++step) {
    int64_t p = step;
    if (work.greedy) {
      ObsCandidate best{0, -1, false};
      for (int64_t j = threadIdx.x; j < n; j += kObsThreads) {
        if (!row.active[j]) continue;
        const double q = work.nearest(r, j, row.weight[j]).value;
        // A weight that updates have pushed off its grid goes at once, before it is pushed further.
        const ObsCandidate one{row.cost(j, q), j, fabs(row.weight[j] - q) > 0.5000001 * work.scale(r, j)};
        if (goes_before(one, best)) best = one;
      }
      p = first_of_block(best).index;
    }
    const Point point = work.nearest(r, p, row.weight[p]);
    loss += row.cost(p, point.value);
    if (threadIdx.x == 0) work.codes[r * n + p] = static_cast<uint8_t>(point.code);
    if (!row.settle(p, point.value)) {
      if (threadIdx.x == 0) atomicOr(work.indefinite, 1);
      return;
    }
  }
  if (threadIdx.x == 0) work.losses[r] = loss;
}

}  // namespace

Status obq_quantize_rows(ObqQuantizeRowsArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const int64_t rows = args.weight.shape[0], n = args.weight.shape[1], stride = args.weight.strides[0];
  const Groups groups(args.group_size, n);
  const GridSpec spec{args.bits, args.sym != 0, args.mse != 0, args.float16_scales != 0};
  ObsMatrix matrix;
  OSC_TRY(matrix.load(args.gram, args.damping));
  OSC_TRY(matrix.invert());
  args.loss = 0;
  if (rows == 0) return ok();
  const float* weight = data<const float>(args.weight);
  float* scales = data<float>(args.scales);
  uint8_t* zeros = data<uint8_t>(args.zeros);
  if (!args.given_grids) {
    OSC_TRY(row_grids({weight, stride, rows, n, groups.size, groups.count, matrix.dead(), scales, zeros, nullptr}, spec));
  }
  if (n == 0) return ok();
  ObsRows flight(rows, n);
  DeviceBuffer<double> losses(rows);
  DeviceBuffer<int32_t> indefinite(1);
  OSC_TRY(flight.allocate());
  if (!losses) return losses.status();
  if (!indefinite) return indefinite.status();
  OSC_TRY(set_zero(indefinite.get(), indefinite.bytes()));
  for (int64_t first = 0; first < rows; first += flight.count()) {
    if (cancelled(context)) return aborted();
    const int64_t count = std::min(flight.count(), rows - first);
    const Quantization work{weight + first * stride, stride, first, rows, groups.size, scales, zeros, static_cast<double>(spec.maxq()),
                            args.greedy != 0, data<uint8_t>(args.codes), losses.get(), indefinite.get()};
    OSC_TRY(launch(quantize_rows, dim3(static_cast<unsigned>(count)), dim3(kObsThreads), 0, work, matrix.data(), matrix.dead(), n,
                   flight.numbers(), flight.active()));
  }
  int32_t lost;
  OSC_TRY(read_value(indefinite.get(), &lost));
  if (lost) return lost_definiteness();
  std::vector<double> host(static_cast<size_t>(rows));
  OSC_TRY(copy_to_host(host.data(), losses.get(), losses.bytes()));
  for (const double loss : host) args.loss += loss;
  return cancelled(context) ? aborted() : ok();
}

}  // namespace osc
