// Runs the threads of a CUDA launch on fibers (scheduler.cc). What kernels call is in emulator.h.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/status.h"
#include "emulator/vector_types.h"

namespace osc::emulator {

// Everything below is called by a running CUDA thread, unless said otherwise. A mistake that real hardware would answer with
// undefined results or a hang ends the launch with a Status that names threads and lines.

struct Indices {
  uint3 thread, block, block_dim, grid_dim;
};
// Of the CUDA thread that runs on this OS thread. initial-exec: one instruction instead of a call for each access.
extern __thread Indices indices __attribute__((tls_model("initial-exec")));

int lane_index();

// The barrier of a block. Returns how many threads of the block came with `predicate`.
int block_barrier(bool predicate, const char* file, int line);

// Waits for all lanes of mask and orders their memory accesses.
void warp_barrier(unsigned mask, const char* file, int line);

// What the lanes of a mask gave to one warp operation.
constexpr size_t kSlotBytes = 32;
struct WarpSlots {
  const unsigned char* bytes;
  unsigned mask;
  template <class T>
  T get(int lane) const {
    static_assert(sizeof(T) <= kSlotBytes);
    T value;
    __builtin_memcpy(&value, bytes + static_cast<size_t>(lane) * kSlotBytes, sizeof(T));
    return value;
  }
};
// Gives `value` and waits for all lanes of mask; valid until this lane's next warp operation. Orders no memory.
WarpSlots exchange(unsigned mask, const char* operation, const void* value, size_t bytes, const char* file, int line);

// The array of the block that belongs to `key`, NaN in every float type until it is written.
void* shared_array(const void* key, size_t bytes, size_t alignment, const char* file, int line);
void* dynamic_shared_bytes();

struct AsyncCopy {
  void* shared;
  const void* global;
  int bytes, valid;
};
void copy_async(void* shared, const void* global, int bytes, int valid);
void commit_copies();
// The next copy that must be made now so that only the newest `kept` groups remain; false when there is none.
bool next_copy(int kept, AsyncCopy* copy);

void memory_fence();
[[noreturn]] void trap(const char* message, const char* file, int line);

// Host side: runs call(closure) for every thread of every block. One launch at a time in a process.
Status run_launch(void (*call)(void*), void* closure, dim3 grid, dim3 block, size_t dynamic_bytes);

}  // namespace osc::emulator
