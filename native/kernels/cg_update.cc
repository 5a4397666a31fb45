#include "../core/memory.h"
#include "../simd/flat.h"
#include "vector_check.h"
#include "vector_parts.h"

namespace osc {

Status cg_update(CgUpdateArgs& args, const Context& context) {
  OSC_TRY(check_cg_update(args));
  const int64_t size = size_of(args.x), parts = parts_of(size);
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
