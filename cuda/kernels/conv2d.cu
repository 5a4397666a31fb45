#include "common/conv.cuh"

namespace osc {
namespace {

template <class E>
Status convolve(const ConvGeometry& g, const E* x, const E* w, E* y, const Context& context) {
  const int64_t patch = g.taps() * g.places(), slices = g.groups;
  const int64_t together = g.plain() ? g.batch : images_together(g, slices * patch, sizeof(E));
  DeviceBuffer<E> buffer(g.plain() ? 0 : together * slices * patch);
  if (!buffer) return buffer.status();
  for (int64_t first = 0; first < g.batch; first += together) {
    if (cancelled(context)) return aborted();
    const int64_t images = std::min(together, g.batch - first);
    const E *source = x + first * slices * g.image(), *patches = g.plain() ? source : buffer.get();
    E* target = y + first * slices * g.result();
    if (!g.plain()) OSC_TRY(unfold(g, source, buffer.get(), images));
    OSC_TRY(each_batch(g, images, [&](const ConvBatch& b) {
      return gemm_batched<E>(Transpose::kNo, Transpose::kNo, g.outputs, g.places(), g.taps(), 1, w + b.group * g.filter(),
                             leading(g.taps()), b.group_step * g.filter(), patches + b.slice * patch, leading(g.places()),
                             b.slice_step * patch, 0, target + b.slice * g.result(), leading(g.places()),
                             b.slice_step * g.result(), b.count);
    }));
  }
  return ok();
}

}  // namespace

Status conv2d(Conv2dArgs& args, const Context& context) {
  ConvGeometry g;
  OSC_TRY(check(args, g));
  return with_real(args.x.dtype, [&](auto zero) {
    using E = decltype(zero);
    return convolve(g, data<E>(args.x), data<E>(args.w), data<E>(args.y), context);
  });
}

}  // namespace osc
