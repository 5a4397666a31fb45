#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "../kernels.h"
#include "gram_accumulate.h"

namespace osc {
namespace {

struct Geometry {
  const float* x;
  int64_t batch, channels, height, width;  // channels of one group
  int64_t groups, out_height, out_width, columns;
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w;

  int64_t patches() const { return batch * out_height * out_width; }
};

// Output positions [from, to) of one output row, as patches of one group at `target` [to - from, columns]. The loop over
// positions is the inner one: it reads a line of the image and writes one column of few patches.
void gather_run(const Geometry& g, int64_t group, int64_t image, int64_t y, int64_t from, int64_t to, float* target) {
  const int64_t count = to - from;
  const float* planes = g.x + (image * g.groups + group) * g.channels * g.height * g.width;
  for (int64_t c = 0; c < g.channels; ++c) {
    for (int64_t i = 0; i < g.kernel_h; ++i) {
      const int64_t row = y * g.stride_h - g.pad_top + i * g.dilation_h;
      const bool inside = row >= 0 && row < g.height;
      const float* line = planes + (c * g.height + (inside ? row : 0)) * g.width;
      for (int64_t j = 0; j < g.kernel_w; ++j, ++target) {
        const int64_t offset = j * g.dilation_w - g.pad_left;
        // Positions whose column lies in the image: 0 <= p * stride_w + offset < width.
        int64_t first = from, end = from;
        if (inside) {
          first = offset >= 0 ? 0 : (-offset + g.stride_w - 1) / g.stride_w;
          end = offset >= g.width ? 0 : (g.width - 1 - offset) / g.stride_w + 1;
          first = std::clamp(first, from, to);
          end = std::clamp(end, first, to);
        }
        int64_t p = 0;
        for (; p < first - from; ++p) target[p * g.columns] = 0;
        for (; p < end - from; ++p) target[p * g.columns] = line[(from + p) * g.stride_w + offset];
        for (; p < count; ++p) target[p * g.columns] = 0;
      }
    }
  }
}

// Patches [from, to) of one group to rows of `target`.
void gather(const Geometry& g, int64_t group, int64_t from, int64_t to, float* target) {
  constexpr int64_t kRun = 32;
  while (from < to) {
    const int64_t line = from / g.out_width, column = from % g.out_width;
    const int64_t count = std::min({kRun, to - from, g.out_width - column});
    gather_run(g, group, line / g.out_height, line % g.out_height, column, column + count, target);
    from += count;
    target += count * g.columns;
  }
}

// One group's staging and accumulator.
struct State {
  float* staging;
  Tensor accumulator;
};

State state_of(const UnfoldGramArgs& args, const Geometry& g, int64_t group) {
  State state{data<float>(args.staging) + group * kGramChunk * g.columns, args.accumulator};
  state.accumulator.data = static_cast<char*>(args.accumulator.data) +
                           group * g.columns * g.columns * item_bytes(args.accumulator.dtype);
  return state;
}

// All patches of one group, chunk by chunk. False when cancelled.
bool add_group(const Geometry& g, int64_t group, const State& state, int64_t staged, GramAccumulator* gram,
               const Context& context) {
  constexpr int64_t kRows = 64;
  const int64_t patches = g.patches();
  for (int64_t next = 0; next < patches;) {
    const int64_t count = std::min(kGramChunk - staged, patches - next);
    const bool gathered = parallel_for((count + kRows - 1) / kRows, context, [&](int64_t block) {
      const int64_t from = block * kRows, to = std::min(count, from + kRows);
      gather(g, group, next + from, next + to, state.staging + (staged + from) * g.columns);
    });
    if (!gathered) return false;
    next += count;
    staged += count;
    if (staged < kGramChunk) break;
    const GramRows chunk{state.staging, g.columns};
    const auto outcome = gram->add({&chunk, 1}, kGramChunk, state.accumulator, context);
    if (outcome != GramAccumulator::Outcome::kDone) return false;
    staged = 0;
  }
  return true;
}

Status read_geometry(const UnfoldGramArgs& args, Geometry& g) {
  const Tensor& x = args.x;
  if (x.dtype != OSC_FLOAT32 || x.rank != 4 || !is_contiguous(x)) {
    return fail(OSC_ARGUMENT, 0, "x must be float32 [batch, channels, height, width], contiguous");
  }
  if (args.groups < 1 || x.shape[1] % args.groups != 0) return fail(OSC_ARGUMENT, args.groups, "groups must divide channels");
  if (std::min({args.kernel_h, args.kernel_w, args.stride_h, args.stride_w, args.dilation_h, args.dilation_w}) < 1 ||
      std::min({args.pad_top, args.pad_left, args.pad_bottom, args.pad_right}) < 0) {
    return fail(OSC_ARGUMENT, 0, "kernel, stride and dilation must be positive, padding not negative");
  }
  g = {data<float>(x), x.shape[0], x.shape[1] / args.groups, x.shape[2], x.shape[3], args.groups, 0, 0, 0,
       args.kernel_h, args.kernel_w, args.stride_h, args.stride_w, args.pad_top, args.pad_left, args.dilation_h,
       args.dilation_w};
  const int64_t free_h = g.height + args.pad_top + args.pad_bottom - g.dilation_h * (g.kernel_h - 1) - 1;
  const int64_t free_w = g.width + args.pad_left + args.pad_right - g.dilation_w * (g.kernel_w - 1) - 1;
  g.out_height = free_h < 0 ? 0 : free_h / g.stride_h + 1;
  g.out_width = free_w < 0 ? 0 : free_w / g.stride_w + 1;
  g.columns = g.channels * g.kernel_h * g.kernel_w;
  return ok();
}

}  // namespace

Status unfold_gram(UnfoldGramArgs& args, const Context& context) {
  constexpr int64_t kManyGroups = 8;
  Geometry g;
  OSC_TRY(read_geometry(args, g));
  OSC_TRY(check_gram_state(args.staging, args.accumulator, g.groups, g.columns, args.staged));
  const int64_t size = size_of(args.x);
  const int64_t bad = first_non_finite(g.x, 1, size, size, context);
  if (bad == -2) return aborted();
  if (bad >= 0) {
    const int64_t line = bad / g.width, plane = line / g.height, channels = g.groups * g.channels;
    return fail(OSC_NON_FINITE, bad, "activation [%lld, %lld, %lld, %lld] is not finite",
                static_cast<long long>(plane / channels), static_cast<long long>(plane % channels),
                static_cast<long long>(line % g.height), static_cast<long long>(bad % g.width));
  }
  args.new_staged = (args.staged + g.patches()) % kGramChunk;
  if (g.columns == 0 || g.patches() == 0) return ok();

  // Few groups: the threads share each of them. Many (depthwise): each thread takes whole groups.
  const bool many = g.groups >= kManyGroups;
  const int64_t workers = many ? std::min<int64_t>(thread_count(), g.groups) : 1;
  std::vector<std::unique_ptr<GramAccumulator>> grams(static_cast<size_t>(workers));
  if (args.staged + g.patches() >= kGramChunk) {
    for (auto& gram : grams) {
      gram = std::make_unique<GramAccumulator>(g.columns, kGramChunk, 1, many ? 1 : thread_count());
      if (!*gram) return fail(OSC_OUT_OF_MEMORY, gram->bytes(), "no memory for the workspace of a Gram matrix");
    }
  }
  if (!many) {
    for (int64_t group = 0; group < g.groups; ++group) {
      const State state = state_of(args, g, group);
      if (!add_group(g, group, state, args.staged, grams[0].get(), context)) return aborted();
    }
    return ok();
  }
  Slots slots(workers);
  const bool done = parallel_for(g.groups, context, [&](int64_t group) {
    const int64_t slot = slots.take();
    add_group(g, group, state_of(args, g, group), args.staged, grams[static_cast<size_t>(slot)].get(), context);
    slots.give(slot);
  });
  return done && !cancelled(context) ? ok() : aborted();
}

}  // namespace osc
