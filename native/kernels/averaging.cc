#include "averaging.h"

#include <algorithm>

namespace osc {

Status Averaging::plan(const Tensor& segments, int64_t size) {
  OSC_TRY(check_segment_table(segments));
  const bool given = size_of(segments) > 0;
  const int32_t* rows = data<int32_t>(segments);
  const int64_t count = given ? segments.shape[0] : 1;
  if (given) OSC_TRY(check_segment_rows(rows, count, size));
  int64_t start = 0;
  for (int64_t s = 0; s < count; ++s) {
    const int64_t end = given ? rows[2 * s] : size, block = given ? rows[2 * s + 1] : 1;
    averages_ |= block > 1;
    if (block > kTile) {
      for (; start < end; start += block) {
        for (int64_t from = start; from < start + block; from += kTile) {
          long_pieces_.push_back(static_cast<int64_t>(pieces_.size()));
          pieces_.push_back({from, std::min(from + kTile, start + block), block, static_cast<int64_t>(long_means_.size())});
        }
        long_means_.push_back(0);
      }
    } else {
      const int64_t step = kTile / block * block;
      for (; start < end; start += step) pieces_.push_back({start, std::min(start + step, end), block, -1});
    }
    start = end;
  }
  int64_t filled = 0;  // elements of the tile being filled
  for (size_t p = 0; p < pieces_.size(); ++p) {
    const int64_t elements = pieces_[p].end - pieces_[p].start;
    if (p == 0 || filled + elements > kTile) {
      first_piece_.push_back(static_cast<int64_t>(p));
      filled = 0;
    }
    filled += elements;
  }
  first_piece_.push_back(static_cast<int64_t>(pieces_.size()));
  return ok();
}

}  // namespace osc
