#include "common/conv.cuh"
#include "common/flat.cuh"

namespace osc {
namespace {

// The products of a chunk's images, added in order to what the chunks before it gave.
template <class E>
struct AddImages {
  const E* products;  // [images, size]
  double* totals;     // not touched when there is one chunk
  E* dw;
  int64_t images, size;
  bool first, last;

  __device__ void operator()(int64_t i) const {
    double sum = first ? 0 : totals[i];
    for (int64_t n = 0; n < images; ++n) sum += static_cast<double>(products[n * size + i]);
    if (last) dw[i] = static_cast<E>(sum);
    else totals[i] = sum;
  }
};

template <class E>
Status convolve_weights(const ConvGeometry& g, const E* x, const E* cotangents, E* dw, const Context& context) {
  const int64_t patch = g.taps() * g.places(), slices = g.groups, size = slices * g.filter();
  if (g.batch == 0 || g.places() == 0) return set_zero(dw, size * static_cast<int64_t>(sizeof(E)));
  const int64_t unfolded = g.plain() ? 0 : slices * patch, together = images_together(g, unfolded + size, sizeof(E));
  DeviceBuffer<E> buffer(together * unfolded), products(together * size);
  DeviceBuffer<double> totals(together < g.batch ? size : 0);
  if (!buffer) return buffer.status();
  if (!products) return products.status();
  if (!totals) return totals.status();
  for (int64_t first = 0; first < g.batch; first += together) {
    if (cancelled(context)) return aborted();
    const int64_t images = std::min(together, g.batch - first);
    const E *source = x + first * slices * g.image(), *patches = g.plain() ? source : buffer.get();
    const E* outputs = cotangents + first * slices * g.result();
    if (!g.plain()) OSC_TRY(unfold(g, source, buffer.get(), images));
    OSC_TRY(each_batch(g, images, [&](const ConvBatch& b) {
      return gemm_batched<E>(Transpose::kNo, Transpose::kYes, g.outputs, g.taps(), g.places(), 1, outputs + b.slice * g.result(),
                             leading(g.places()), b.slice_step * g.result(), patches + b.slice * patch, leading(g.places()),
                             b.slice_step * patch, 0, products.get() + b.slice * g.filter(), leading(g.taps()),
                             b.slice_step * g.filter(), b.count);
    }));
    const AddImages<E> add{products.get(), totals.get(), dw, images, size, first == 0, first + images == g.batch};
    OSC_TRY(launch_each(add, size));
  }
  return ok();
}

}  // namespace

Status conv2d_weight(Conv2dWeightArgs& args, const Context& context) {
  ConvGeometry g;
  OSC_TRY(check(args, g));
  return with_real(args.x.dtype, [&](auto zero) {
    using E = decltype(zero);
    return convolve_weights(g, data<E>(args.x), data<E>(args.g), data<E>(args.dw), context);
  });
}

}  // namespace osc
