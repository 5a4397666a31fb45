#include <cstring>
#include <vector>

#include "../kernels.h"
#include "gram_accumulate.h"

namespace osc {
namespace {

void copy_rows(const float* x, int64_t stride, int64_t rows, int64_t in, float* target) {
  for (int64_t i = 0; i < rows; ++i) {
    std::memcpy(target + i * in, x + i * stride, static_cast<size_t>(in) * sizeof(float));
  }
}

}  // namespace

Status input_gram(InputGramArgs& args, const Context& context) {
  const Tensor& x = args.x;
  if (x.dtype != OSC_FLOAT32 || x.rank != 2 || (x.strides[1] != 1 && x.shape[1] > 1)) {
    return fail(OSC_ARGUMENT, 0, "x must be float32 [tokens, in] with contiguous rows");
  }
  const int64_t tokens = x.shape[0], in = x.shape[1], stride = x.strides[0];
  OSC_TRY(check_gram_state(args.staging, args.accumulator, 1, in, args.staged));
  const int64_t bad = first_non_finite(data<float>(x), tokens, in, stride, context);
  if (bad == -2) return aborted();
  if (bad >= 0) {
    return fail(OSC_NON_FINITE, bad, "activation [%lld, %lld] is not finite", static_cast<long long>(bad / in),
                static_cast<long long>(bad % in));
  }
  const int64_t staged = args.staged;
  args.new_staged = (staged + tokens) % kGramChunk;
  if (in == 0) return ok();

  float* staging = data<float>(args.staging);
  const float* x_rows = data<float>(x);
  const int64_t count = (staged + tokens) / kGramChunk;
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
  if (!gram.add(chunks, kGramChunk, args.accumulator, context)) return aborted();
  copy_rows(x_rows + next * stride, stride, tokens - next, in, staging);
  return ok();
}

}  // namespace osc
