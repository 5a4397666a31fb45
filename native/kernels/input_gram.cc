#include <algorithm>
#include <cstring>

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
  int64_t staged = args.staged;
  args.new_staged = (staged + tokens) % kGramChunk;
  if (in == 0) return ok();

  float* staging = data<float>(args.staging);
  const float* next = data<float>(x);
  int64_t left = tokens;
  if (staged + tokens < kGramChunk) {
    copy_rows(next, stride, tokens, in, staging + staged * in);
    return ok();
  }
  GramAccumulator gram(in, kGramChunk, thread_count());
  if (!gram) return fail(OSC_OUT_OF_MEMORY, gram.bytes(), "no memory for the workspace of a Gram matrix");
  const int64_t chunks = (staged + tokens) / kGramChunk;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t taken = kGramChunk - staged;
    const float* rows = next;
    int64_t rows_stride = stride;
    if (staged > 0) {  // complete the chunk that earlier calls began; otherwise the rows are read where they are
      copy_rows(next, stride, taken, in, staging + staged * in);
      rows = staging;
      rows_stride = in;
      staged = 0;
    }
    if (!gram.add(rows, rows_stride, kGramChunk, args.accumulator, context)) return aborted();
    next += taken * stride;
    left -= taken;
    report(context, static_cast<double>(tokens - left), static_cast<double>(tokens));
  }
  copy_rows(next, stride, left, in, staging);
  return ok();
}

}  // namespace osc
