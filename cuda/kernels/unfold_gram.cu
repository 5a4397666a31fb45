#include "common/finite.cuh"
#include "common/gram.cuh"
#include "kernels.h"
#include "kernels/checks.h"

namespace osc {
namespace {

constexpr int kPatchColumns = 64, kPatchRows = 4;  // of a block

// Patches [from, from + count) of every group to rows of staging [groups, 2048, columns], from row `staged` on.
OSC_GLOBAL gather_patches(PatchGeometry g, int64_t from, int64_t count, int64_t staged, float* staging) {
  const int64_t column = global_thread();
  if (column >= g.columns) return;
  const int64_t kernel = g.kernel_h * g.kernel_w;
  const int64_t channel = column / kernel, i = column % kernel / g.kernel_w, j = column % g.kernel_w;
  for (int64_t group = blockIdx.z; group < g.groups; group += gridDim.z) {
    float* target = staging + (group * kGramChunk + staged) * g.columns + column;
    for (int64_t p = static_cast<int64_t>(blockIdx.y) * kPatchRows + threadIdx.y; p < count;
         p += static_cast<int64_t>(gridDim.y) * kPatchRows) {
      const int64_t line = (from + p) / g.out_width, image = line / g.out_height;
      const int64_t row = line % g.out_height * g.stride_h - g.pad_top + i * g.dilation_h;
      const int64_t at = (from + p) % g.out_width * g.stride_w - g.pad_left + j * g.dilation_w;
      const bool inside = row >= 0 && row < g.height && at >= 0 && at < g.width;
      const int64_t plane = (image * g.groups + group) * g.channels + channel;
      target[p * g.columns] = inside ? g.x[(plane * g.height + row) * g.width + at] : 0.0F;
    }
  }
}

Status gather(const PatchGeometry& g, int64_t from, int64_t count, int64_t staged, float* staging) {
  const auto clip = [](int64_t blocks) { return static_cast<unsigned>(blocks < 65535 ? blocks : 65535); };
  const dim3 grid(static_cast<unsigned>(blocks_for(g.columns, kPatchColumns)), clip(blocks_for(count, kPatchRows)),
                  clip(g.groups));
  return launch(gather_patches, grid, dim3(kPatchColumns, kPatchRows), 0, g, from, count, staged, staging);
}

}  // namespace

Status unfold_gram(UnfoldGramArgs& args, const Context& context) {
  PatchGeometry g;
  OSC_TRY(check(args, g));
  const int64_t size = size_of(args.x), patches = g.patches();
  int64_t bad;
  OSC_TRY(first_non_finite(g.x, 1, size, size, &bad));
  if (bad >= 0) return image_not_finite(g, bad);
  args.new_staged = (args.staged + patches) % kGramChunk;
  if (g.columns == 0 || patches == 0) return ok();

  float* staging = data<float>(args.staging);
  const bool completes = args.staged + patches >= kGramChunk;
  const ChunkSum sum(args.accumulator, completes ? g.groups : 0, g.columns);
  OSC_TRY(sum.allocated());
  int64_t staged = args.staged;
  for (int64_t next = 0; next < patches;) {
    if (cancelled(context)) return aborted();
    const int64_t count = std::min(kGramChunk - staged, patches - next);
    OSC_TRY(gather(g, next, count, staged, staging));
    next += count;
    staged += count;
    if (staged < kGramChunk) break;
    OSC_TRY(sum.add(staging));
    staged = 0;
    report(context, static_cast<double>(next), static_cast<double>(patches));
  }
  return ok();
}

}  // namespace osc
