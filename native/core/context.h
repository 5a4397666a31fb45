// What a running kernel may ask of its caller: whether to stop, and where to report progress.
#pragma once
#include <atomic>
#include <cstdint>

extern "C" {

struct OscContext {
  const std::atomic<int32_t>* cancelled;  // non-zero: stop at the next tile; may be null
  void (*progress)(void* data, double done, double total);  // may be null; any thread
  void* progress_data;
};

}  // extern "C"

namespace osc {

using Context = OscContext;

inline bool cancelled(const Context& context) {
  return context.cancelled && context.cancelled->load(std::memory_order_relaxed) != 0;
}

inline void report(const Context& context, double done, double total) {
  if (context.progress) context.progress(context.progress_data, done, total);
}

}  // namespace osc
