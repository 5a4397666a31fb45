#include "common/flat.cuh"
#include "kernels/vector_check.h"

namespace osc {
namespace {

template <class T>
struct Pass {
  T a, b;
  const T* x;  // or null
  T* y;
  __device__ void operator()(int64_t i) const {
    y[i] = !x ? b * y[i] : b == 0 ? a * x[i] : multiply_add(a, x[i], b * y[i]);
  }
};

}  // namespace

Status axpby(AxpbyArgs& args, const Context&) {
  OSC_TRY(check_axpby(args));
  return with_real(args.y.dtype, [&](auto type) {
    using T = decltype(type);
    const Pass<T> pass{static_cast<T>(args.a), static_cast<T>(args.b), size_of(args.x) > 0 ? data<T>(args.x) : nullptr,
                       data<T>(args.y)};
    return launch_each(pass, size_of(args.y));
  });
}

}  // namespace osc
