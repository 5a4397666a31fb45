// The one way work is spread over threads. Work is cut into tiles by its size alone, never by the number of
// threads, and each tile is computed by one thread: so results are the same bits for any thread count.
#pragma once
#include <cstdint>
#include <type_traits>

#include "context.h"

namespace osc {

// Threads used by parallel_for, the caller included. Default: OSCULATE_THREADS, else the processors this process may use.
int thread_count();
void set_thread_count(int count);

namespace detail {
using TileFunction = void (*)(void* closure, int64_t tile);
bool run_tiles(int64_t tiles, TileFunction function, void* closure, const Context& context);
}  // namespace detail

// Calls f(tile) for tile in [0, tiles), in ascending order of start, on up to thread_count() threads.
// Idle threads block, they never spin. A call from inside a tile, or while another caller uses the pool, runs on the
// calling thread. A tile may wait for tiles before it (they have started), not for those after it. What a tile throws is thrown again here, when no tile runs any more. Returns false when the context was cancelled (some tiles did not run).
template <class F>
bool parallel_for(int64_t tiles, const Context& context, F&& f) {
  using Function = std::remove_reference_t<F>;
  return detail::run_tiles(
      tiles, [](void* closure, int64_t tile) { (*static_cast<Function*>(closure))(tile); },
      const_cast<void*>(static_cast<const void*>(&f)), context);
}

}  // namespace osc
