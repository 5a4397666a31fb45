// Stacks to run CUDA threads on, and the switch between them. A fiber never leaves the OS thread it was made on.
#pragma once
#include <cstddef>

namespace osc::emulator {

struct Fiber {
  void* stack_pointer = nullptr;  // where it stopped
  const void* stack_bottom = nullptr;
  size_t stack_bytes = 0;
  void* mapping = nullptr;        // null: the stack of an OS thread
  void* fake_stack = nullptr;     // AddressSanitizer's
  void* sanitizer_thread = nullptr;  // ThreadSanitizer's
  Fiber* next = nullptr;          // for lists of the owner
};

// The OS thread that calls, so that one can switch back to it.
Fiber fiber_of_this_thread();

// Runs entry() at the first switch to it; entry must never return. False when there is no memory.
bool create_fiber(Fiber& fiber, void (*entry)());
void destroy_fiber(Fiber& fiber);

void switch_fiber(Fiber& from, Fiber& to);
// The first thing entry() calls.
void fiber_entered();

}  // namespace osc::emulator
