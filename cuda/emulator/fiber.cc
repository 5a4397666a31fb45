#include "emulator/fiber.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#include "emulator/sanitizers.h"

// void osc_emulator_switch(void** save, void* load): keeps the registers a function must keep on the old stack, and takes
// those of the new one. The floating-point control words are not switched: no kernel changes them.
extern "C" void osc_emulator_switch(void** save, void* load);

#if defined(__x86_64__)
asm(R"(
.text
.hidden osc_emulator_switch
.globl osc_emulator_switch
.type osc_emulator_switch, @function
osc_emulator_switch:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size osc_emulator_switch, .-osc_emulator_switch
)");
constexpr int kReturnWord = 6;
constexpr int kFrameWords = 8;   // with the return address and an aligned, empty caller
#elif defined(__aarch64__)
asm(R"(
.text
.hidden osc_emulator_switch
.globl osc_emulator_switch
.type osc_emulator_switch, @function
osc_emulator_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size osc_emulator_switch, .-osc_emulator_switch
)");
constexpr int kReturnWord = 11;  // x30
constexpr int kFrameWords = 20;
#else
#error "the emulator knows how to switch stacks on x86-64 and aarch64 only"
#endif

namespace osc::emulator {
namespace {

constexpr size_t kGuard = 4096 * 16;  // at least one page of any size in use
// Instrumented frames are larger.
constexpr size_t kStack = size_t{kAddressSanitizer || kThreadSanitizer ? 256 : 64} << 10;

}  // namespace

Fiber fiber_of_this_thread() {
  Fiber fiber;
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    void* bottom = nullptr;
    pthread_attr_getstack(&attributes, &bottom, &fiber.stack_bytes);
    fiber.stack_bottom = bottom;
    pthread_attr_destroy(&attributes);
  }
#if defined(OSC_TSAN)
  fiber.sanitizer_thread = __tsan_get_current_fiber();
#endif
  return fiber;
}

bool create_fiber(Fiber& fiber, void (*entry)()) {
  void* mapping = mmap(nullptr, kGuard + kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return false;
  mprotect(mapping, kGuard, PROT_NONE);
  fiber = Fiber{};
  fiber.mapping = mapping;
  fiber.stack_bottom = static_cast<char*>(mapping) + kGuard;
  fiber.stack_bytes = kStack;
  auto* top = reinterpret_cast<uint64_t*>(static_cast<char*>(mapping) + kGuard + kStack);
  uint64_t* frame = top - kFrameWords;  // zero, being fresh: the frame pointer and the caller's address end a backtrace
  frame[kReturnWord] = reinterpret_cast<uint64_t>(entry);
  fiber.stack_pointer = frame;
#if defined(OSC_TSAN)
  fiber.sanitizer_thread = __tsan_create_fiber(0);
#endif
  return true;
}

void destroy_fiber(Fiber& fiber) {
#if defined(OSC_TSAN)
  __tsan_destroy_fiber(fiber.sanitizer_thread);
#endif
  allow(fiber.stack_bottom, fiber.stack_bytes);  // a stack that was left in the middle has forbidden parts
  munmap(fiber.mapping, kGuard + kStack);
}

void switch_fiber(Fiber& from, Fiber& to) {
#if defined(OSC_ASAN)
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack_bottom, to.stack_bytes);
#endif
#if defined(OSC_TSAN)
  __tsan_switch_to_fiber(to.sanitizer_thread, 1);  // 1: the switch orders nothing
#endif
  osc_emulator_switch(&from.stack_pointer, to.stack_pointer);
#if defined(OSC_ASAN)
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

void fiber_entered() {
#if defined(OSC_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

}  // namespace osc::emulator
