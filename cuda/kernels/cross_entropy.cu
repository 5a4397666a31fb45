#include "common/teams.cuh"

namespace osc {
namespace {

template <class E>
struct CrossEntropy {
  const E* x;
  const int32_t* target;
  E *loss, *log_sum;
  int64_t classes;
  int64_t ignored_target;  // no int32 when none is ignored
  unsigned long long* bad;

  template <class Team>
  __device__ void operator()(const Team& team, int64_t row) const {
    const E* values = x + row * classes;
    E largest = -std::numeric_limits<E>::infinity();
    for (int64_t c = team.member; c < classes; c += Team::kSize) largest = LargestElement()(largest, values[c]);
    largest = team.largest(largest);
    double sum = 0;
    for (int64_t c = team.member; c < classes; c += Team::kSize) sum += static_cast<double>(Math<E>::exp(values[c] - largest));
    sum = team.sum(sum);
    if (team.member != 0) return;
    const int32_t wanted = target[row];
    const bool ignored = wanted == ignored_target;
    log_sum[row] = static_cast<E>(static_cast<double>(largest) + ::log(sum));
    if (ignored) loss[row] = 0;
    else if (wanted < 0 || wanted >= classes) atomicMin(bad, static_cast<unsigned long long>(row));
    else loss[row] = static_cast<E>(::log(sum) + (static_cast<double>(largest) - static_cast<double>(values[wanted])));
  }
};

}  // namespace

Status cross_entropy(CrossEntropyArgs& args, const Context&) {
  OSC_TRY(check(args));
  const Tensor& x = args.x;
  if (x.shape[0] == 0) return ok();
  DeviceBuffer<unsigned long long> bad(1);
  if (!bad) return bad.status();
  OSC_TRY(set_bytes(bad.get(), 0xFF, bad.bytes()));
  OSC_TRY(with_real(x.dtype, [&](auto zero) {
    using E = decltype(zero);
    const CrossEntropy<E> rows{data<E>(x),          data<int32_t>(args.target),
                               data<E>(args.loss),  data<E>(args.log_sum),
                               x.shape[1],          args.ignore ? args.ignore_index : INT64_MAX,
                               bad.get()};
    return launch_rows(rows, x.shape[0], x.shape[1]);
  }));
  unsigned long long row = 0;
  OSC_TRY(read_value(bad.get(), &row));
  if (row == ~0ULL) return ok();
  int32_t wanted = 0;
  OSC_TRY(read_value(data<int32_t>(args.target) + row, &wanted));
  return no_such_class(static_cast<int64_t>(row), wanted, x.shape[1]);
}

}  // namespace osc
