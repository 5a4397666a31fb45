#include "common/conv.cuh"

namespace osc {
namespace {

template <class E>
Status convolve_back(const ConvGeometry& g, const E* cotangents, const E* w, E* dx, const Context& context) {
  const int64_t patch = g.taps() * g.places(), slices = g.groups;
  const int64_t together = g.plain() ? g.batch : images_together(g, slices * patch, sizeof(E));
  DeviceBuffer<E> buffer(g.plain() ? 0 : together * slices * patch);
  if (!buffer) return buffer.status();
  for (int64_t first = 0; first < g.batch; first += together) {
    if (cancelled(context)) return aborted();
    const int64_t images = std::min(together, g.batch - first);
    const E* source = cotangents + first * slices * g.result();
    E *target = dx + first * slices * g.image(), *patches = g.plain() ? target : buffer.get();
    OSC_TRY(each_batch(g, images, [&](const ConvBatch& b) {
      return gemm_batched<E>(Transpose::kYes, Transpose::kNo, g.taps(), g.places(), g.outputs, 1, w + b.group * g.filter(),
                             leading(g.taps()), b.group_step * g.filter(), source + b.slice * g.result(), leading(g.places()),
                             b.slice_step * g.result(), 0, patches + b.slice * patch, leading(g.places()),
                             b.slice_step * patch, b.count);
    }));
    if (!g.plain()) OSC_TRY(fold(g, buffer.get(), target, images));
  }
  return ok();
}

}  // namespace

Status conv2d_input(Conv2dInputArgs& args, const Context& context) {
  ConvGeometry g;
  OSC_TRY(check(args, g));
  return with_real(args.g.dtype, [&](auto zero) {
    using E = decltype(zero);
    return convolve_back(g, data<E>(args.g), data<E>(args.w), data<E>(args.dx), context);
  });
}

}  // namespace osc
