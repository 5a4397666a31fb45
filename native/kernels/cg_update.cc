#include "../core/memory.h"
#include "../kernels.h"
#include "../simd/flat.h"
#include "vector_parts.h"

namespace osc {

Status cg_update(CgUpdateArgs& args, const Context& context) {
  const int64_t size = size_of(args.x), parts = parts_of(size);
  for (const Tensor* t : {&args.p, &args.ap, &args.x, &args.r}) {
    if (size_of(*t) != size || t->dtype != args.x.dtype || !is_contiguous(*t)) {
      return fail(OSC_ARGUMENT, 0, "p, ap, x and r must be contiguous, of one size and dtype");
    }
  }
  if (size_of(args.rr) != 1 || args.rr.dtype != OSC_FLOAT64) return fail(OSC_ARGUMENT, 0, "rr must be one float64");
  const Buffer<double> sums(parts);
  if (!sums) return fail(OSC_OUT_OF_MEMORY, sums.bytes(), "no memory for partial sums");
  return with_real(args.x.dtype, [&](auto type) {
    using T = decltype(type);
    const bool done = parallel_for(parts, context, [&](int64_t part) {
      const int64_t start = part * kVectorPart;
      sums[part] = vector_simd<T>().cg_update(static_cast<T>(args.alpha), data<T>(args.p) + start, data<T>(args.ap) + start,
                                              data<T>(args.x) + start, data<T>(args.r) + start,
                                              std::min(kVectorPart, size - start));
    });
    if (!done) return aborted();
    *data<double>(args.rr) = tree_sum(sums.get(), parts);
    return ok();
  });
}

}  // namespace osc
