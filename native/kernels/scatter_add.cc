#include <atomic>

#include "../core/memory.h"
#include "../kernels.h"
#include "rows.h"

namespace osc {
namespace {

constexpr int64_t kColumns = 512;  // of a row that are summed at a time

// The positions of an index by where they point: those of row r are order[starts[r]..starts[r + 1]), in order.
struct Sorted {
  Buffer<int32_t> starts, order;

  Sorted(int64_t n, int64_t m) : starts(n + 1), order(m) {}
  explicit operator bool() const { return starts && order; }

  // Returns the position of an index that is out of range, or -1.
  int64_t sort(const int32_t* index, int64_t n, int64_t m) {
    std::fill_n(starts.get(), n + 1, 0);
    for (int64_t j = 0; j < m; ++j) {
      if (index[j] < 0 || index[j] >= n) return j;
      ++starts[index[j] + 1];
    }
    for (int64_t r = 0; r < n; ++r) starts[r + 1] += starts[r];
    for (int64_t j = 0; j < m; ++j) order[starts[index[j]]++] = static_cast<int32_t>(j);
    for (int64_t r = n; r > 0; --r) starts[r] = starts[r - 1];  // each start had moved to the next one
    starts[0] = 0;
    return -1;
  }
};

// Rows [first, end) of y [n, inner]: sums in float64, in the order of positions.
template <class E>
void sum_rows(const Sorted& sorted, const E* g, int64_t inner, int64_t first, int64_t end, E* y) {
  const auto& loops = rows().of<E>();
  double sums[kColumns];
  for (int64_t r = first; r < end; ++r) {
    const int32_t begin = sorted.starts[r], stop = sorted.starts[r + 1];
    if (stop - begin <= 1) {
      if (stop == begin) std::fill_n(y + r * inner, inner, E(0));
      else std::copy_n(g + sorted.order[begin] * inner, inner, y + r * inner);
      continue;
    }
    for (int64_t c = 0; c < inner; c += kColumns) {
      const int64_t width = std::min(kColumns, inner - c);
      std::fill_n(sums, width, 0.0);
      for (int32_t p = begin; p < stop; ++p) loops.add(sums, g + sorted.order[p] * inner + c, width);
      for (int64_t i = 0; i < width; ++i) y[r * inner + c + i] = static_cast<E>(sums[i]);
    }
  }
}

}  // namespace

Status scatter_add(ScatterAddArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &g = args.g, &index = args.index, &y = args.y;
  const int64_t outer = y.shape[0], n = y.shape[1], inner = y.shape[2], m = index.shape[1];
  std::atomic<int64_t> bad{-1};
  std::atomic<bool> enough{true};
  bool done = true;
  with_real(g.dtype, [&](auto zero) {
    using E = decltype(zero);
    const auto add = [&](const Sorted& sorted, int64_t o, int64_t first, int64_t end) {
      sum_rows(sorted, data<E>(g) + o * m * inner, inner, first, end, data<E>(y) + o * n * inner);
    };
    const auto sorted_by = [&](Sorted& sorted, int64_t o) {
      if (!sorted) enough = false;
      else if (const int64_t at = sorted.sort(data<int32_t>(index) + o * m, n, m); at >= 0) bad = o * m + at;
      return enough && bad < 0;
    };
    if (index.shape[0] == 1) {
      Sorted sorted(n, m);
      if (!sorted_by(sorted, 0)) return;
      done = each_row_block(outer * n, inner, context, [&](int64_t first, int64_t end) {
        for (int64_t row = first; row < end;) {
          const int64_t o = row / n, stop = std::min(end, (o + 1) * n);
          add(sorted, o, row - o * n, stop - o * n);
          row = stop;
        }
      });
      return;
    }
    done = each_row_block(outer, n * inner, context, [&](int64_t first, int64_t end) {
      Sorted sorted(n, m);
      for (int64_t o = first; o < end && sorted_by(sorted, o); ++o) add(sorted, o, 0, n);
    });
  });
  if (!done) return aborted();
  if (!enough) return fail(OSC_OUT_OF_MEMORY, (n + m) * 4, "no memory for the order of the index");
  if (bad >= 0) return index_out_of_range(bad, data<int32_t>(index)[bad], n);
  return ok();
}

}  // namespace osc
