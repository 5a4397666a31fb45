// Averaging the estimate of a Hessian's diagonal over runs of consecutive elements: the rows of a matrix, the kernels of a
// convolution. Several tensors lie one after the other in a flat vector; a run never crosses two of them.
#pragma once
#include <vector>

#include "../core/memory.h"
#include "../core/parallel.h"
#include "../core/status.h"
#include "../core/tensor.h"
#include "../simd/flat.h"
#include "segments.h"

namespace osc {

class Averaging {
 public:
  static constexpr int64_t kTile = 8192;  // most elements of a tile: the estimate of a tile stays in the cache

  // Consecutive elements of one segment. Whole runs, or a part of one run that is longer than a tile.
  struct Piece {
    int64_t start, end, block;
    int64_t long_run;  // number of the run it is a part of, or -1
  };

  // segments: as in segments.h; absent: nothing is averaged.
  Status plan(const Tensor& segments, int64_t size);

  int64_t tiles() const { return static_cast<int64_t>(first_piece_.size()) - 1; }
  bool averages() const { return averages_; }

  // Means of the runs longer than a tile, before the tiles. estimate(start, count, d) gives elements of the vector.
  template <class Estimate>
  Status measure(const Context& context, Estimate estimate) {
    const int64_t parts = static_cast<int64_t>(long_pieces_.size());
    if (parts == 0) return ok();
    const Buffer<double> sums(parts);
    if (!sums) return fail(OSC_OUT_OF_MEMORY, sums.bytes(), "no memory for the sums of blocks");
    const bool done = parallel_for(parts, context, [&](int64_t part) {
      const Piece& piece = pieces_[static_cast<size_t>(long_pieces_[static_cast<size_t>(part)])];
      float d[kTile];
      estimate(piece.start, piece.end - piece.start, d);
      sums[part] = vector_simd<float>().sum(d, piece.end - piece.start);
    });
    if (!done) return aborted();
    for (int64_t part = 0; part < parts; ++part) {
      const Piece& piece = pieces_[static_cast<size_t>(long_pieces_[static_cast<size_t>(part)])];
      long_means_[static_cast<size_t>(piece.long_run)] += sums[part] / static_cast<double>(piece.block);
    }
    return ok();
  }

  // f(piece, d) for the pieces of a tile, d the averaged estimate of the piece's elements.
  template <class Estimate, class F>
  void each(int64_t tile, Estimate estimate, F f) const {
    float d[kTile];
    for (int64_t p = first_piece_[static_cast<size_t>(tile)]; p < first_piece_[static_cast<size_t>(tile) + 1]; ++p) {
      const Piece& piece = pieces_[static_cast<size_t>(p)];
      const int64_t count = piece.end - piece.start;
      if (piece.long_run >= 0) {
        const float mean = static_cast<float>(long_means_[static_cast<size_t>(piece.long_run)]);
        for (int64_t i = 0; i < count; ++i) d[i] = mean;
      } else {
        estimate(piece.start, count, d);
        if (piece.block > 1) flat_simd().average(d, count, piece.block);
      }
      f(piece, static_cast<const float*>(d));
    }
  }

 private:
  std::vector<Piece> pieces_;
  std::vector<int64_t> first_piece_;  // of each tile, and the end
  std::vector<int64_t> long_pieces_;  // of long runs, in order
  std::vector<double> long_means_;
  bool averages_ = false;
};

}  // namespace osc
