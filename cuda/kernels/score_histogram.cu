#include "common/digits.cuh"
#include "common/flat.cuh"
#include "kernels.h"
#include "kernels/compress_checks.h"

namespace osc {
namespace {

struct AddCounts {
  const unsigned long long* found;
  int64_t* counts;
  __device__ void operator()(int64_t v) const { counts[v] += static_cast<int64_t>(found[v]); }
};

}  // namespace

Status score_histogram(ScoreHistogramArgs& args, const Context&) {
  OSC_TRY(check(args));
  const int64_t size = size_of(args.scores);
  if (size == 0) return ok();
  DeviceBuffer<unsigned long long> found(kDigitValues + 1);
  if (!found) return found.status();
  unsigned long long* nan = found.get() + kDigitValues;
  OSC_TRY(set_zero(found.get(), kDigitValues * static_cast<int64_t>(sizeof *nan)));
  OSC_TRY(set_bytes(nan, 0xFF, sizeof *nan));
  const float* scores = data<const float>(args.scores);
  const int digit = static_cast<int>(args.digit);
  const auto prefix = static_cast<uint32_t>(args.prefix);
  unsigned long long* watch = digit == 0 ? nan : nullptr;
  OSC_TRY(args.absolute ? launch_count(scores, size, MagnitudeKey(), digit, prefix, found.get(), watch)
                        : launch_count(scores, size, OrderKey(), digit, prefix, found.get(), watch));
  if (watch) {
    unsigned long long bad;
    OSC_TRY(read_value(nan, &bad));
    if (bad != ~0ULL) return fail(OSC_NON_FINITE, static_cast<int64_t>(bad), "score %llu is NaN", bad);
  }
  return launch_each(AddCounts{found.get(), data<int64_t>(args.counts)}, kDigitValues);
}

}  // namespace osc
