#include <atomic>
#include <cmath>

#include "../core/memory.h"
#include "../kernels.h"
#include "rows.h"

namespace osc {

Status cross_entropy(CrossEntropyArgs& args, const Context& context) {
  OSC_TRY(check(args));
  const Tensor &x = args.x, &target = args.target, &loss = args.loss, &log_sum = args.log_sum;
  const int64_t classes = x.shape[1];
  std::atomic<int64_t> bad{-1};
  bool enough = true;
  const bool done = with_real(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    const auto& loops = rows().of<E>();
    return each_row_block(x.shape[0], classes, context, [&](int64_t first, int64_t end) {
      Buffer<E> exponentials(classes);
      if (!exponentials) {
        enough = false;
        return;
      }
      for (int64_t row = first; row < end; ++row) {
        const int32_t wanted = data<int32_t>(target)[row];
        const bool ignored = args.ignore && wanted == args.ignore_index;
        if (!ignored && (wanted < 0 || wanted >= classes)) {
          bad = row;
          continue;
        }
        const E* values = data<E>(x) + row * classes;
        const E largest = loops.largest(values, classes);
        const double sum = loops.exponential(values, largest, E(1), exponentials.get(), classes);
        const double log_sum_exp = static_cast<double>(largest) + std::log(sum);
        data<E>(log_sum)[row] = static_cast<E>(log_sum_exp);
        data<E>(loss)[row] = ignored ? E(0) : static_cast<E>(std::log(sum) + (static_cast<double>(largest) - static_cast<double>(values[wanted])));
      }
    });
  });
  if (!done) return aborted();
  if (!enough) return fail(OSC_OUT_OF_MEMORY, classes, "no memory for a row");
  if (bad >= 0) return no_such_class(bad, data<int32_t>(target)[bad], classes);
  return ok();
}

}  // namespace osc
