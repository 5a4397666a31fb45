// What the emulator tells the sanitizers. It is itself compiled without them (a run-time system that they watch would be
// reported for what it does on behalf of the threads it models) and told by OSC_ASAN or OSC_TSAN that kernels are watched.
#pragma once
#include <cstddef>

extern "C" {
void __asan_poison_memory_region(const volatile void* address, size_t bytes);
void __asan_unpoison_memory_region(const volatile void* address, size_t bytes);
void __sanitizer_start_switch_fiber(void** fake_stack_save, const void* bottom, size_t bytes);
void __sanitizer_finish_switch_fiber(void* fake_stack_save, const void** bottom_old, size_t* bytes_old);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
}

namespace osc::emulator {

#if defined(OSC_ASAN)
constexpr bool kAddressSanitizer = true;
inline void forbid(const void* address, size_t bytes) { __asan_poison_memory_region(address, bytes); }
inline void allow(const void* address, size_t bytes) { __asan_unpoison_memory_region(address, bytes); }
#else
constexpr bool kAddressSanitizer = false;
inline void forbid(const void*, size_t) {}
inline void allow(const void*, size_t) {}
#endif

#if defined(OSC_TSAN)
constexpr bool kThreadSanitizer = true;
// Everything before a release of an object happens before everything after a later acquire of it.
inline void acquire(void* object) { __tsan_acquire(object); }
inline void release(void* object) { __tsan_release(object); }
#else
constexpr bool kThreadSanitizer = false;
inline void acquire(void*) {}
inline void release(void*) {}
#endif

}  // namespace osc::emulator
