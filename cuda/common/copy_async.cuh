// Asynchronous copies from global to shared memory (cp.async). Copies of one thread form groups; they are in shared memory
// for the thread itself after cp_wait, for others after a barrier behind it. The emulator copies only at the wait.
#pragma once

namespace osc {

#if defined(__CUDACC__)

// 16 bytes; both addresses divisible by 16. Of the source only the first `valid` bytes are read, the rest is zero.
__device__ inline void cp_async16(void* shared, const void* global, int valid = 16) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(valid) : "memory");
}

// 4 bytes; both addresses divisible by 4. valid is 4 or 0 (then nothing is read and zero is written).
__device__ inline void cp_async4(void* shared, const void* global, int valid = 4) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(global), "r"(valid) : "memory");
}

// Ends a group (which may be empty).
__device__ inline void cp_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most the newest `kept` groups of this thread are under way.
template <int kept>
__device__ inline void cp_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kept) : "memory");
}

#else

inline void cp_async16(void* shared, const void* global, int valid = 16) {
  emulator::copy_async(shared, global, 16, valid);
}
inline void cp_async4(void* shared, const void* global, int valid = 4) {
  emulator::copy_async(shared, global, 4, valid);
}
inline void cp_commit() { emulator::commit_copies(); }

// The copies are made here, in code that the sanitizers see.
template <int kept>
inline void cp_wait() {
  emulator::AsyncCopy copy;
  while (emulator::next_copy(kept, &copy)) {
    auto* to = static_cast<unsigned char*>(copy.shared);
    const auto* from = static_cast<const unsigned char*>(copy.global);
    for (int i = 0; i < copy.bytes; ++i) to[i] = i < copy.valid ? from[i] : static_cast<unsigned char>(0);
  }
}

#endif

}  // namespace osc
