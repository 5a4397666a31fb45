// Estimates of a Hessian's diagonal on the device: one for each element, and their means over the runs of segments.
//
// An estimate E has `E::Row row(r)`, what the 128 elements of row r share, and `at(row, i, position)`, the value of element i,
// which lies at `position` of it; `first` is the position of element 0 in the rows.
#pragma once
#include <vector>

#include "common/flat.cuh"
#include "common/reduce.cuh"
#include "core/hutchinson.h"
#include "core/philox.h"
#include "kernels/segments.h"

namespace osc {
namespace {

struct NoRow {};

template <DiagonalKind kind>
struct DiagonalEstimate {
  using Row = NoRow;
  const float *h, *z;  // z for kSigned only
  int64_t first;       // 0
  __device__ Row row(int64_t) const { return {}; }
  __device__ float at(const Row&, int64_t i, int) const { return diagonal_of(kind, h[i], z ? z[i] : 0.0F); }
};

// z h with z drawn again: a row is one block of random bits.
struct DrawnEstimate {
  using Row = RandomBlock;
  const float* h;
  RandomKey key;
  int64_t index, first;  // index: of element 0 among the numbers of the key; first = index mod 128
  __device__ Row row(int64_t r) const {
    return random_block(RandomKind::kRademacher, key, static_cast<uint64_t>(index / kSignsPerBlock + r));
  }
  __device__ float at(const Row& row, int64_t i, int position) const {
    return random_sign(row.word[position >> 5], static_cast<uint32_t>(position & 31)) * h[i];
  }
};

template <class E>
__device__ float estimate_at(const E& estimate, int64_t i) {
  const int64_t place = estimate.first + i;
  return estimate.at(estimate.row(place / kSignsPerBlock), i, static_cast<int>(place % kSignsPerBlock));
}

struct Segment {
  int32_t end, block;
  int32_t first_run;  // runs of segments with block = 1 are not counted
};

struct SegmentTable {
  const Segment* rows;
  int32_t count;

  __device__ int64_t start(int s) const { return s ? rows[s - 1].end : 0; }
  // The segment of an element: the first that ends after it.
  __device__ int of_element(int64_t i) const {
    int low = 0, high = count - 1;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (rows[middle].end > i) high = middle;
      else low = middle + 1;
    }
    return low;
  }
  // The segment of a run: the last that begins at it or before.
  __device__ int of_run(int32_t run) const {
    int low = 0, high = count - 1;
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (rows[middle].first_run <= run) low = middle;
      else high = middle - 1;
    }
    return low;
  }
};

// Estimates averaged over their runs.
template <class E>
struct AveragedEstimate {
  using Row = typename E::Row;
  E inner;
  SegmentTable table;
  const float* means;
  int64_t first;
  __device__ Row row(int64_t r) const { return inner.row(r); }
  __device__ float at(const Row& row, int64_t i, int position) const {
    const int s = table.of_element(i);
    const Segment segment = table.rows[s];
    if (segment.block == 1) return inner.at(row, i, position);
    const int32_t inside = static_cast<int32_t>(i - table.start(s));
    return means[segment.first_run + inside / segment.block];
  }
};

// Which part of the machine sums a run, by its length.
constexpr int kThreadRun = 32, kWarpRun = 2048;

template <class E>
__device__ double sum_run(const E& estimate, int64_t start, int32_t block, int from, int step) {
  double sum = 0;
  for (int32_t i = from; i < block; i += step) sum += estimate_at(estimate, start + i);
  return sum;
}

template <class E>
OSC_GLOBAL means_by_thread(E estimate, SegmentTable table, int32_t runs, float* means) {
  for (int64_t run = global_thread(); run < runs; run += global_threads()) {
    const int s = table.of_run(static_cast<int32_t>(run));
    const Segment segment = table.rows[s];
    if (segment.block > kThreadRun) continue;
    const int64_t start = table.start(s) + (run - segment.first_run) * segment.block;
    means[run] = static_cast<float>(sum_run(estimate, start, segment.block, 0, 1) / segment.block);
  }
}

template <class E>
OSC_GLOBAL means_by_warp(E estimate, SegmentTable table, int32_t runs, float* means) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int64_t run = global_thread() / kWarp; run < runs; run += global_threads() / kWarp) {
    const int s = table.of_run(static_cast<int32_t>(run));
    const Segment segment = table.rows[s];
    if (segment.block <= kThreadRun || segment.block > kWarpRun) continue;
    const int64_t start = table.start(s) + (run - segment.first_run) * segment.block;
    const double sum = warp_sum(sum_run(estimate, start, segment.block, lane, kWarp));
    if (lane == 0) means[run] = static_cast<float>(sum / segment.block);
  }
}

template <class E>
OSC_GLOBAL means_by_block(E estimate, SegmentTable table, int32_t runs, float* means) {
  for (int32_t run = static_cast<int32_t>(blockIdx.x); run < runs; run += static_cast<int32_t>(gridDim.x)) {
    const int s = table.of_run(run);
    const Segment segment = table.rows[s];
    if (segment.block <= kWarpRun) continue;
    const int64_t start = table.start(s) + static_cast<int64_t>(run - segment.first_run) * segment.block;
    const double sum = block_sum(sum_run(estimate, start, segment.block, static_cast<int>(threadIdx.x), kFlatThreads));
    if (threadIdx.x == 0) means[run] = static_cast<float>(sum / segment.block);
  }
}

// The segments of a call, and the means of their runs. Without any that average, estimates are taken as they are.
class DeviceAveraging {
 public:
  Status plan(const Tensor& segments, int64_t size) {
    OSC_TRY(check_segment_table(segments));
    const int64_t count = size_of(segments) / 2;
    if (count == 0) return ok();
    std::vector<int32_t> rows(static_cast<size_t>(2 * count));
    OSC_TRY(copy_to_host(rows.data(), segments.data, 8 * count));
    OSC_TRY(check_segment_rows(rows.data(), count, size));
    std::vector<Segment> table;
    for (int64_t s = 0, start = 0; s < count; start = rows[2 * s++]) {
      const int32_t end = rows[2 * s], block = rows[2 * s + 1];
      table.push_back({end, block, runs_});
      if (block == 1) continue;
      runs_ += (end - static_cast<int32_t>(start)) / block;
      by_thread_ |= block <= kThreadRun;
      by_warp_ |= block > kThreadRun && block <= kWarpRun;
      by_block_ |= block > kWarpRun;
    }
    if (runs_ == 0) return ok();
    table_ = DeviceBuffer<Segment>(count);
    means_ = DeviceBuffer<float>(runs_);
    if (!table_) return table_.status();
    if (!means_) return means_.status();
    count_ = static_cast<int32_t>(count);
    return copy_to_device(table_.get(), table.data(), count * static_cast<int64_t>(sizeof(Segment)));
  }

  // f(estimate, averaged where segments ask for it) -> Status.
  template <class E, class F>
  Status with(const E& estimate, F f) const {
    if (runs_ == 0) return f(estimate);
    const SegmentTable table{table_.get(), count_};
    if (by_thread_) {
      OSC_TRY(launch(means_by_thread<E>, grid_for(runs_, kFlatThreads), kFlatThreads, 0, estimate, table, runs_, means_.get()));
    }
    if (by_warp_) {
      const unsigned blocks = grid_for(runs_, kFlatThreads / kWarp);
      OSC_TRY(launch(means_by_warp<E>, blocks, kFlatThreads, 0, estimate, table, runs_, means_.get()));
    }
    if (by_block_) {
      OSC_TRY(launch(means_by_block<E>, grid_for(runs_, 1), kFlatThreads, 0, estimate, table, runs_, means_.get()));
    }
    return f(AveragedEstimate<E>{estimate, table, means_.get(), estimate.first});
  }

 private:
  DeviceBuffer<Segment> table_;
  DeviceBuffer<float> means_;
  int32_t count_ = 0, runs_ = 0;
  bool by_thread_ = false, by_warp_ = false, by_block_ = false;
};

}  // namespace
}  // namespace osc
