// What the Gram kernels share: the sum of X^T X over one chunk of tokens, cut into tiles.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "../core/memory.h"
#include "../core/parallel.h"
#include "../core/status.h"
#include "../core/tensor.h"

namespace osc {

inline constexpr int64_t kGramHeldColumns = 2048;  // see GramAccumulator

// Numbers 0..count-1, each held by one tile at a time: which part of a workspace a tile may use. With thread_count() of
// them there is a free one, unless somebody raised that number meanwhile: then a tile waits.
class Slots {
 public:
  explicit Slots(int64_t count) {
    for (int64_t i = 0; i < count; ++i) free_.push_back(i);
  }
  int64_t take() {
    std::unique_lock<std::mutex> lock(mutex_);
    given_.wait(lock, [this] { return !free_.empty(); });
    const int64_t slot = free_.back();
    free_.pop_back();
    return slot;
  }
  void give(int64_t slot) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      free_.push_back(slot);
    }
    given_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable given_;
  std::vector<int64_t> free_;
};

// Tokens where they are: row i begins at data + i * stride.
struct GramRows {
  const float* data;
  int64_t stride;
};

// Adds x^T x of chunks to the lower half of an accumulator [in, in], float32 or float64.
//
// A chunk is copied once to panels of 48 columns, each panel contiguous and zero-padded to 16, 32 or 48 columns; tiles of
// at most 384 x 384 elements then go over the chunk 256 tokens at a time with their sum in a buffer that stays in the
// second-level cache, and are added to the accumulator at the end. Every element is the same chain of operations whatever
// the tiles are, so neither threads nor the place of an element matter.
// While the tiles of one chunk are computed the next one is copied, which also finds NaN and Inf. Up to kGramHeldColumns the
// sums of all chunks but the last go to a matrix of our own, so that the accumulator changes only when every token is known
// to be finite. Above, where another matrix is much memory and another look at the tokens is little time, the caller looks.
// Workspace: rows * (in rounded up to 16) floats, and 384 * 384 for each thread; with several chunks twice the former, and
// the matrix.
class GramAccumulator {
 public:
  enum class Outcome {
    kDone,
    kNotFinite,  // up to kGramHeldColumns the accumulator is as it was
    kCancelled,  // the accumulator may hold a part of the chunks
  };

  // For up to `chunks` chunks in a call, of at most `rows` tokens, on up to `threads` threads. Check with
  // `if (!accumulator)`: OUT_OF_MEMORY.
  GramAccumulator(int64_t in, int64_t rows, int64_t chunks, int threads);
  explicit operator bool() const { return panels_ && sums_ && (!held_ || total_); }
  int64_t bytes() const { return panels_.bytes() + sums_.bytes() + total_.bytes(); }

  // Adds chunks of `rows` tokens each, in order.
  Outcome add(std::span<const GramRows> chunks, int64_t rows, const Tensor& accumulator, const Context& context);

 private:
  struct Tile {
    int64_t row_panel, row_panels, column_panel, column_panels;
  };
  int64_t width(int64_t panel) const;  // floats between rows of a panel
  float* panels(int64_t chunk) const { return panels_.get() + (chunk % 2) * panel_count_ * panel_stride_; }
  bool pack(const GramRows& x, int64_t from, int64_t to, float* panels) const;
  void multiply(const Tile& tile, const float* panels, int64_t rows, float* sum) const;
  template <class Real>
  void add_tile(const Tile& tile, const float* sum, const Real* before, Real* after) const;
  template <class Real>
  Outcome add_chunks(std::span<const GramRows> chunks, int64_t rows, Real* accumulator, const Context& context);

  int64_t in_, panel_count_, panel_stride_, tile_width_;
  bool held_;
  std::vector<Tile> tiles_;
  Buffer<float> panels_, sums_;
  Buffer<double> total_;  // or floats
  Slots slots_;
};

// Position of the first NaN or Inf of the rows of x [rows, columns] as row * columns + column, or -1. -2 when cancelled.
int64_t first_non_finite(const float* x, int64_t rows, int64_t columns, int64_t stride, const Context& context);

}  // namespace osc
