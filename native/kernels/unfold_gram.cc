#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "checks.h"
#include "gram_accumulate.h"

namespace osc {
namespace {

// Output positions [from, to) of one output row, as patches of one group at `target` [to - from, columns]. The loop over
// positions is the inner one: it reads a line of the image and writes one column of few patches.
void gather_run(const PatchGeometry& g, int64_t group, int64_t image, int64_t y, int64_t from, int64_t to, float* target) {
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
void gather(const PatchGeometry& g, int64_t group, int64_t from, int64_t to, float* target) {
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

State state_of(const UnfoldGramArgs& args, const PatchGeometry& g, int64_t group) {
  State state{data<float>(args.staging) + group * kGramChunk * g.columns, args.accumulator};
  state.accumulator.data = static_cast<char*>(args.accumulator.data) +
                           group * g.columns * g.columns * item_bytes(args.accumulator.dtype);
  return state;
}

// All patches of one group, chunk by chunk. False when cancelled.
bool add_group(const PatchGeometry& g, int64_t group, const State& state, int64_t staged, GramAccumulator* gram,
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

}  // namespace

Status unfold_gram(UnfoldGramArgs& args, const Context& context) {
  constexpr int64_t kManyGroups = 8;
  PatchGeometry g;
  OSC_TRY(check(args, g));
  const int64_t size = size_of(args.x);
  const int64_t bad = first_non_finite(g.x, 1, size, size, context);
  if (bad == -2) return aborted();
  if (bad >= 0) return image_not_finite(g, bad);
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
