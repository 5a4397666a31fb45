#include <cstring>
#include <vector>

#include "checks.h"
#include "gram_accumulate.h"

namespace osc {
namespace {

void copy_rows(const float* x, int64_t stride, int64_t rows, int64_t in, float* target) {
  for (int64_t i = 0; i < rows; ++i) {
    std::memcpy(target + i * in, x + i * stride, static_cast<size_t>(in) * sizeof(float));
  }
}

// Rows [from, to) of x. The failure names the first value of all of x that is not finite.
Status check_finite(const float* x, int64_t from, int64_t to, int64_t in, int64_t stride, const Context& context) {
  int64_t bad = first_non_finite(x + from * stride, to - from, in, stride, context);
  if (bad >= 0 && from > 0) bad = first_non_finite(x, to, in, stride, context);
  if (bad == -2) return aborted();
  if (bad == -1) return ok();
  return fail(OSC_NON_FINITE, bad, "activation [%lld, %lld] is not finite", static_cast<long long>(bad / in),
              static_cast<long long>(bad % in));
}

}  // namespace

Status input_gram(InputGramArgs& args, const Context& context) {
  const Tensor& x = args.x;
  OSC_TRY(check(args));
  const int64_t tokens = x.shape[0], in = x.shape[1], stride = x.strides[0];
  const int64_t staged = args.staged;
  args.new_staged = (staged + tokens) % kGramChunk;
  if (in == 0) return ok();

  float* staging = data<float>(args.staging);
  const float* x_rows = data<float>(x);
  const int64_t count = (staged + tokens) / kGramChunk;
  // Full chunks are looked at while they are copied, if the kernel can still turn back then.
  const int64_t rest = count == 0 || in > kGramHeldColumns ? tokens : (staged + tokens) % kGramChunk;
  OSC_TRY(check_finite(x_rows, tokens - rest, tokens, in, stride, context));
  if (count == 0) {
    copy_rows(x_rows, stride, tokens, in, staging + staged * in);
    return ok();
  }
  GramAccumulator gram(in, kGramChunk, count, thread_count());
  if (!gram) return fail(OSC_OUT_OF_MEMORY, gram.bytes(), "no memory for the workspace of a Gram matrix");
  std::vector<GramRows> chunks;
  int64_t next = 0;
  if (staged > 0) {  // complete the chunk that earlier calls began; all others are read where they are
    next = kGramChunk - staged;
    copy_rows(x_rows, stride, next, in, staging + staged * in);
    chunks.push_back({staging, in});
  }
  for (; next + kGramChunk <= tokens; next += kGramChunk) chunks.push_back({x_rows + next * stride, stride});
  switch (gram.add(chunks, kGramChunk, args.accumulator, context)) {
    case GramAccumulator::Outcome::kDone: break;
    case GramAccumulator::Outcome::kCancelled: return aborted();
    case GramAccumulator::Outcome::kNotFinite: return check_finite(x_rows, 0, tokens, in, stride, context);
  }
  copy_rows(x_rows + next * stride, stride, tokens - next, in, staging);
  return ok();
}

}  // namespace osc
