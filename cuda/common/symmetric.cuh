// Symmetric matrices on the device: whether they are, a copy that is to the last bit, and the half that a product leaves out.
#pragma once
#include <vector>

#include "common/gpu.cuh"
#include "common/memory.h"
#include "common/reduce.cuh"
#include "core/finite.h"
#include "dense/asymmetry.h"

namespace osc {
namespace {

constexpr int kSide = 32;        // of the tiles
constexpr int kSideThreads = 8;  // threads down a tile

inline unsigned clipped_grid(int64_t count) { return static_cast<unsigned>(count < 65535 ? count : 65535); }

// Tiles of `batch` matrices [n, n]; a kernel leaves those above the diagonal out.
inline dim3 square_tiles(int64_t n, int64_t batch) {
  const unsigned side = static_cast<unsigned>(blocks_for(n, kSide));
  return dim3(side, side, clipped_grid(batch));
}

// What was seen of a matrix; all zeros say nothing was. Numbers that are not negative have the order of their bits.
struct SymmetryFacts {
  unsigned long long largest;      // bits of the largest |a_ij| as a double
  unsigned long long asymmetry;    // of the largest |a_ij - a_ji|
  unsigned long long not_finite;   // ~position of the first NaN or Inf
};

__device__ inline unsigned long long double_bits(double x) { return bit_cast<unsigned long long>(x); }

// Looks at every pair, a pair of tiles a block; copy: (a + a^T) / 2, taken in In, null when not wanted.
template <class In, class Out>
OSC_GLOBAL look_at_pairs(const In* a, int64_t n, int64_t batch, Out* copy, SymmetryFacts* facts) {
  if (blockIdx.x > blockIdx.y) return;
  OSC_SHARED(In, below, [kSide][kSide + 1]);
  OSC_SHARED(In, above, [kSide][kSide + 1]);
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * kSide, column0 = static_cast<int64_t>(blockIdx.x) * kSide;
  const int lane = static_cast<int>(threadIdx.x);
  for (int64_t item = blockIdx.z; item < batch; item += gridDim.z) {
    const In* matrix = a + item * n * n;
    unsigned long long position = 0;
    for (int i = static_cast<int>(threadIdx.y); i < kSide; i += kSideThreads) {
      const int64_t row = row0 + i, column = column0 + lane, other_row = column0 + i, other_column = row0 + lane;
      const In x = row < n && column < n ? matrix[row * n + column] : In(0);
      const In y = other_row < n && other_column < n ? matrix[other_row * n + other_column] : In(0);
      below[i][lane] = x;
      above[i][lane] = y;
      if (!is_finite(x)) position = max(position, ~static_cast<unsigned long long>(row * n + column));
      if (!is_finite(y)) position = max(position, ~static_cast<unsigned long long>(other_row * n + other_column));
    }
    __syncthreads();
    double largest = 0, asymmetry = 0;
    for (int i = static_cast<int>(threadIdx.y); i < kSide; i += kSideThreads) {
      const In x = below[i][lane], y = above[lane][i];
      const double size = static_cast<double>(fabs(x)), apart = static_cast<double>(fabs(x - y));
      if (size > largest) largest = size;
      if (apart > asymmetry) asymmetry = apart;
      if (!copy) continue;
      Out* target = copy + item * n * n;
      const int64_t row = row0 + i, column = column0 + lane, other_row = column0 + i, other_column = row0 + lane;
      if (row < n && column < n) target[row * n + column] = static_cast<Out>(x / 2 + y / 2);
      if (row0 != column0 && other_row < n && other_column < n) {
        target[other_row * n + other_column] = static_cast<Out>(above[i][lane] / 2 + below[lane][i] / 2);
      }
    }
    if (largest > 0) atomicMax(&facts[item].largest, double_bits(largest));
    if (asymmetry > 0) atomicMax(&facts[item].asymmetry, double_bits(asymmetry));
    if (position > 0) atomicMax(&facts[item].not_finite, position);
    __syncthreads();  // the next matrix goes to the same tiles
  }
}

// *first = the first pair that is `asymmetry` apart, in the halves the CPU looks at.
template <class In>
OSC_GLOBAL find_asymmetry(const In* a, int64_t n, double asymmetry, unsigned long long* first) {
  constexpr int64_t kBlock = 64;
  const int64_t at = global_thread(), row = at / n, column = at % n;
  if (row >= n || column / kBlock > row / kBlock) return;
  const In apart = static_cast<In>(fabs(a[row * n + column] - a[column * n + row]));
  if (static_cast<double>(apart) == asymmetry) atomicMin(first, static_cast<unsigned long long>(at));
}

template <class In>
Status not_symmetric(const In* a, int64_t n, int64_t item, double asymmetry) {
  DeviceBuffer<unsigned long long> first(1);
  if (!first) return first.status();
  unsigned long long at;
  OSC_TRY(set_bytes(first.get(), 0xFF, first.bytes()));
  OSC_TRY(launch(find_asymmetry<In>, dim3(static_cast<unsigned>(blocks_for(n * n, 256))), dim3(256), 0, a + item * n * n, n,
                 asymmetry, first.get()));
  OSC_TRY(read_value(first.get(), &at));
  const long long row = static_cast<long long>(at) / n, column = static_cast<long long>(at) % n;
  return fail(OSC_ARGUMENT, item * n * n + static_cast<int64_t>(at),
              "expected a symmetric matrix, but the entries (%lld, %lld) and (%lld, %lld) differ by %.3g", row, column, column,
              row, asymmetry);
}

// verdicts[item]: OK, NON_FINITE or ARGUMENT (not symmetric), with the flat position in the batch. The status returned is of
// the device alone. Waits.
template <class In, class Out>
Status look_at_symmetric(const In* a, int64_t n, int64_t batch, Out* copy, std::vector<Status>* verdicts) {
  verdicts->assign(static_cast<size_t>(batch), ok());
  if (n == 0 || batch == 0) return ok();
  DeviceBuffer<SymmetryFacts> seen(batch);
  if (!seen) return seen.status();
  OSC_TRY(set_zero(seen.get(), seen.bytes()));
  OSC_TRY(launch(look_at_pairs<In, Out>, square_tiles(n, batch), dim3(kSide, kSideThreads), 0, a, n, batch, copy, seen.get()));
  std::vector<SymmetryFacts> facts(static_cast<size_t>(batch));
  OSC_TRY(copy_to_host(facts.data(), seen.get(), seen.bytes()));
  for (int64_t item = 0; item < batch; ++item) {
    const SymmetryFacts& fact = facts[static_cast<size_t>(item)];
    Status& verdict = (*verdicts)[static_cast<size_t>(item)];
    const double largest = bit_cast<double>(fact.largest), asymmetry = bit_cast<double>(fact.asymmetry);
    if (fact.not_finite) {
      const int64_t at = static_cast<int64_t>(~fact.not_finite);
      verdict = fail(OSC_NON_FINITE, item * n * n + at, "the matrix has NaN or Inf at row %lld, column %lld",
                     static_cast<long long>(at / n), static_cast<long long>(at % n));
    } else if (asymmetry > static_cast<double>(kAsymmetry<In>)*largest) {
      verdict = not_symmetric(a, n, item, asymmetry);
      if (verdict.code != OSC_ARGUMENT) return verdict;
    }
  }
  return ok();
}

// Copies the lower halves of m [batch, n, n] to the upper ones.
template <class Real>
OSC_GLOBAL mirror_tiles(Real* m, int64_t n, int64_t batch) {
  if (blockIdx.x > blockIdx.y) return;
  OSC_SHARED(Real, tile, [kSide][kSide + 1]);
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * kSide, column0 = static_cast<int64_t>(blockIdx.x) * kSide;
  const int lane = static_cast<int>(threadIdx.x);
  for (int64_t item = blockIdx.z; item < batch; item += gridDim.z) {
    Real* matrix = m + item * n * n;
    for (int i = static_cast<int>(threadIdx.y); i < kSide; i += kSideThreads) {
      const int64_t row = row0 + i, column = column0 + lane;
      if (row < n && column <= row) tile[i][lane] = matrix[row * n + column];
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.y); i < kSide; i += kSideThreads) {
      const int64_t row = column0 + i, column = row0 + lane;
      if (column < n && row < column) matrix[row * n + column] = tile[lane][i];
    }
    __syncthreads();
  }
}

template <class Real>
Status mirror_lower(Real* m, int64_t n, int64_t batch) {
  if (n == 0 || batch == 0) return ok();
  return launch(mirror_tiles<Real>, square_tiles(n, batch), dim3(kSide, kSideThreads), 0, m, n, batch);
}

// target = source^T, matrices [batch, n, n] that do not overlap.
template <class From, class To>
OSC_GLOBAL transpose_tiles(const From* source, int64_t n, int64_t batch, To* target) {
  OSC_SHARED(From, tile, [kSide][kSide + 1]);
  const int64_t row0 = static_cast<int64_t>(blockIdx.y) * kSide, column0 = static_cast<int64_t>(blockIdx.x) * kSide;
  const int lane = static_cast<int>(threadIdx.x);
  for (int64_t item = blockIdx.z; item < batch; item += gridDim.z) {
    for (int i = static_cast<int>(threadIdx.y); i < kSide; i += kSideThreads) {
      const int64_t row = row0 + i, column = column0 + lane;
      if (row < n && column < n) tile[i][lane] = source[(item * n + row) * n + column];
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.y); i < kSide; i += kSideThreads) {
      const int64_t row = column0 + i, column = row0 + lane;
      if (row < n && column < n) target[(item * n + row) * n + column] = static_cast<To>(tile[lane][i]);
    }
    __syncthreads();
  }
}

template <class From, class To>
Status transpose_square(const From* source, int64_t n, int64_t batch, To* target) {
  if (n == 0 || batch == 0) return ok();
  return launch(transpose_tiles<From, To>, square_tiles(n, batch), dim3(kSide, kSideThreads), 0, source, n, batch, target);
}

}  // namespace
}  // namespace osc
