#include "emulator/scheduler.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "emulator/fiber.h"
#include "emulator/helpers.h"
#include "emulator/runtime.h"
#include "emulator/sanitizers.h"
#include "emulator/settings.h"

// A block runs on one OS thread. Its CUDA threads run one after the other on one stack until one has to wait; then another
// stack takes over, so that kernels without barriers cost almost nothing. Under ThreadSanitizer every CUDA thread has a
// fiber of its own, which the tool knows as a thread; switches order nothing, barriers do.
//
// Nothing here may allocate, or copy through the library, while a kernel runs: ThreadSanitizer would take it for the kernel's.

namespace osc::emulator {

__thread Indices indices __attribute__((tls_model("initial-exec")));

namespace {

constexpr unsigned kMaxThreads = 1024, kMaxWarps = kMaxThreads / 32, kWords = kMaxThreads / 64;
constexpr unsigned kMasks = 16;         // different masks in flight in one warp
constexpr unsigned kCopies = 64;        // asynchronous copies in flight of one thread
constexpr unsigned kArrays = 64;        // shared arrays of a kernel
constexpr size_t kStaticLimit = 48 << 10, kSharedLimit = 227 << 10;  // of sm_90 and sm_100; older and smaller devices: 99 KiB
constexpr size_t kRedZone = 64;
constexpr size_t kOrderBytes = (1 + kMaxWarps * kMasks) * 2 * 8;
constexpr size_t kArenaBytes = 512 << 10;
constexpr uint64_t kPoison = 0x7FF87FF87FF87FF8;  // NaN in every float type (runtime.h)

struct Launch {
  void (*call)(void*);
  void* closure;
  dim3 grid, block;
  size_t dynamic_bytes;
  unsigned threads;  // of a block
  uint64_t blocks;
  uint64_t number;   // of the launch, for random orders
  std::atomic<uint64_t> next_block{0};
  std::atomic<int> failed{0};
  Status status = ok();  // of the first block that failed
  uint64_t start, end;   // what ThreadSanitizer orders: host before launch, launch before host
};

// A set of positions 0..1023 that is walked in a circle.
class Ring {
 public:
  void fill(unsigned count) {
    for (unsigned w = 0; w < kWords; ++w) {
      const unsigned first = w * 64;
      words_[w] = count <= first ? 0 : count >= first + 64 ? ~uint64_t{0} : (uint64_t{1} << (count - first)) - 1;
    }
  }
  void clear() { fill(0); }
  void insert(unsigned position) { words_[position / 64] |= uint64_t{1} << (position % 64); }
  void move_all_from(Ring& other) {
    for (unsigned w = 0; w < kWords; ++w) {
      words_[w] |= other.words_[w];
      other.words_[w] = 0;
    }
  }
  // Removes and returns the first position from `start` on, around the end if need be; -1 when empty.
  int take_from(unsigned start) {
    for (unsigned step = 0; step <= kWords; ++step) {
      const unsigned w = (start / 64 + step) % kWords;
      uint64_t word = words_[w];
      if (step == 0) word &= ~uint64_t{0} << (start % 64);
      if (word == 0) continue;
      const unsigned bit = static_cast<unsigned>(__builtin_ctzll(word));
      words_[w] &= ~(uint64_t{1} << bit);
      return static_cast<int>(w * 64 + bit);
    }
    return -1;
  }

 private:
  uint64_t words_[kWords];
};

struct Place {
  const char* operation = nullptr;
  const char* file = nullptr;
  int line = 0;
  bool operator==(const Place& other) const {
    return line == other.line && same(operation, other.operation) && same(file, other.file);
  }
  static bool same(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }
};

struct CudaThread {
  uint3 index;
  Fiber* fiber;
  bool done;
  Place waits_at;  // operation null: it does not wait
  unsigned mask;
  unsigned groups, copies, first_copy;  // asynchronous copies: closed groups, entries, the oldest
};

struct PendingCopy {
  AsyncCopy copy;
  unsigned group;
};

// The lanes of one mask at a warp operation. Two buffers: a fast lane may be at the next operation while a slow one still
// reads what it got from this one.
struct WarpGroup {
  unsigned mask, arrived, generation, leaving;
  Place place;
  alignas(16) unsigned char slots[2][32 * kSlotBytes];
};

struct Warp {
  unsigned groups, exited;
};

struct SharedArray {
  const void* key;
  void* address;
};

const char* base_name(const char* path) {
  const char* slash = std::strrchr(path, '/');
  return slash ? slash + 1 : path;
}

void copy_bytes(unsigned char* to, const void* from, size_t bytes) {
  const auto* source = static_cast<const volatile unsigned char*>(from);
  for (size_t i = 0; i < bytes; ++i) to[i] = source[i];
}

template <class T>
T* map_array(size_t count) {
  void* memory = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<T*>(memory);
}

// Runs blocks on the OS thread that owns it.
class Executor {
 public:
  Executor();
  bool ready() const { return threads_ && copies_ && groups_ && all_; }

  // Takes blocks of the launch until none is left or one failed.
  void run(Launch& launch);

  int lane() const { return static_cast<int>(current_ % 32); }
  int block_barrier(bool predicate, const Place& place);
  void warp_barrier(unsigned mask, const Place& place);
  WarpSlots exchange(unsigned mask, const void* value, size_t bytes, const Place& place);
  void* shared_array(const void* key, size_t bytes, size_t alignment, const char* file, int line);
  void* dynamic_shared() const { return dynamic_; }
  void copy_async(const AsyncCopy& copy);
  void commit_copies();
  bool next_copy(int kept, AsyncCopy* copy);
  template <class... Values>
  [[noreturn]] void fail_launch(const char* format, Values... values);
  [[noreturn]] void run_threads();

 private:
  void run_block(uint64_t block);
  void order_threads(uint64_t block);
  void* carve(size_t bytes, size_t alignment);
  // What ThreadSanitizer orders the threads of a barrier by: number 0 is the block's, then the warp groups'. In the arena,
  // which is new for every block: what is ordered in one block says nothing about another.
  void* order_object(size_t number, unsigned parity) { return arena_ + (2 * number + parity) * 8; }
  void give_arena_back();
  WarpGroup& arrive(unsigned mask, const Place& place);
  void leave(WarpGroup& group, unsigned generation, const Place& place);
  void open_barrier();
  void finish_thread();
  void wait(const Place& place, unsigned mask);
  void start_or_resume(unsigned thread, Fiber* from);
  int next_thread();
  Fiber* take_fiber();
  void free_fiber(Fiber* fiber);
  void append_free(Fiber* fiber);
  void reuse_finished();
  bool make_fiber();
  bool make_fibers_for_block();
  void drop_fibers();
  [[noreturn]] void report_deadlock();
  CudaThread& me() { return threads_[current_]; }

  Launch* launch_ = nullptr;
  CudaThread* threads_;
  PendingCopy* copies_;
  WarpGroup* groups_;
  Warp warps_[kMaxWarps];
  uint16_t thread_at_[kMaxThreads], position_of_[kMaxThreads];  // the order of the block's threads
  Ring ready_, at_barrier_;
  unsigned current_ = 0, live_ = 0;

  unsigned arrived_ = 0, generation_ = 0, first_at_barrier_ = 0;
  int predicates_[2] = {0, 0};
  Place barrier_;

  unsigned char* arena_ = nullptr;
  size_t arena_used_ = 0, shared_bytes_ = 0;
  void* dynamic_ = nullptr;
  SharedArray arrays_[kArrays];
  unsigned array_count_ = 0;

  Fiber main_;
  Fiber *free_first_ = nullptr, *free_last_ = nullptr, *finished_ = nullptr;
  unsigned fibers_ = 0;
  Fiber* running_ = nullptr;
  Fiber* all_;  // one more than a block can need
  bool block_failed_ = false;
  uint64_t block_start_ = 0;  // for ThreadSanitizer: the OS thread before the block's threads
};

__thread Executor* executor __attribute__((tls_model("initial-exec")));

void fiber_entry() {
  fiber_entered();
  executor->run_threads();
}

Executor::Executor()
    : threads_(map_array<CudaThread>(kMaxThreads)),
      copies_(map_array<PendingCopy>(size_t{kMaxThreads} * kCopies)),
      groups_(map_array<WarpGroup>(size_t{kMaxWarps} * kMasks)),
      main_(fiber_of_this_thread()),
      all_(map_array<Fiber>(kMaxThreads + 1)) {}

// ---- launches and blocks

void Executor::run(Launch& launch) {
  launch_ = &launch;
  acquire(&launch.start);
  indices.block_dim = {launch.block.x, launch.block.y, launch.block.z};
  indices.grid_dim = {launch.grid.x, launch.grid.y, launch.grid.z};
  while (launch.failed.load(std::memory_order_relaxed) == 0) {
    const uint64_t turn = launch.next_block.fetch_add(1, std::memory_order_relaxed);
    if (turn >= launch.blocks) break;
    run_block(turn);
  }
}

// The number at place `turn` of a permutation of 0..count-1: a Feistel network on the next power of four, walked until it
// lands inside.
uint64_t permuted(uint64_t turn, uint64_t count, uint64_t seed) {
  unsigned half = 1;
  while (half < 31 && (uint64_t{1} << (2 * half)) < count) ++half;
  const uint64_t low = (uint64_t{1} << half) - 1;
  uint64_t value = turn;
  do {
    uint64_t left = value >> half, right = value & low;
    for (uint64_t round = 0; round < 4; ++round) {
      const uint64_t mixed = (right + seed + round * 0x9E3779B97F4A7C15u) * 0xBF58476D1CE4E5B9u;
      const uint64_t next = left ^ (mixed >> 33 & low);
      left = right;
      right = next;
    }
    value = left << half | right;
  } while (value >= count);
  return value;
}

void Executor::order_threads(uint64_t block) {
  const Settings& how = settings();
  for (unsigned i = 0; i < launch_->threads; ++i) {
    unsigned thread = i;
    if (how.order == Order::kDescending) thread = launch_->threads - 1 - i;
    if (how.order == Order::kRandom) {
      thread = static_cast<unsigned>(permuted(i, launch_->threads, how.seed * 0x2545F4914F6CDD1Du + launch_->number * 8191 + block));
    }
    thread_at_[i] = static_cast<uint16_t>(thread);
    position_of_[thread] = static_cast<uint16_t>(i);
  }
}

void Executor::run_block(uint64_t turn) {
  const Settings& how = settings();
  uint64_t block = turn;
  if (how.order == Order::kDescending) block = launch_->blocks - 1 - turn;
  if (how.order == Order::kRandom) block = permuted(turn, launch_->blocks, how.seed + launch_->number);
  const dim3 &grid = launch_->grid, &size = launch_->block;
  indices.block = {static_cast<unsigned>(block % grid.x), static_cast<unsigned>(block / grid.x % grid.y),
                   static_cast<unsigned>(block / (uint64_t{grid.x} * grid.y))};
  order_threads(block);
  unsigned t = 0;
  for (unsigned z = 0; z < size.z; ++z) {
    for (unsigned y = 0; y < size.y; ++y) {
      for (unsigned x = 0; x < size.x; ++x) {
        CudaThread& thread = threads_[t++];
        thread.index = {x, y, z};
        thread.fiber = nullptr;
        thread.done = false;
        thread.waits_at.operation = nullptr;
        thread.groups = thread.copies = thread.first_copy = 0;
      }
    }
  }
  live_ = launch_->threads;
  ready_.fill(live_);
  at_barrier_.clear();
  arrived_ = generation_ = 0;
  predicates_[0] = predicates_[1] = 0;
  for (unsigned w = 0; w * 32 < live_; ++w) {
    const unsigned lanes = live_ - w * 32;
    warps_[w] = {0, lanes >= 32 ? 0u : ~0u << lanes};
  }
  array_count_ = 0;
  arena_used_ = kOrderBytes + kRedZone;
  shared_bytes_ = 0;
  block_failed_ = false;
  if (!arena_) {
    arena_ = map_array<unsigned char>(kArenaBytes);
    if (arena_) forbid(arena_, kArenaBytes);
  }
  const bool room = arena_ && (!kThreadSanitizer || make_fibers_for_block());
  Fiber* first = room ? take_fiber() : nullptr;
  if (!first) {
    if (launch_->failed.exchange(1) == 0) launch_->status = fail(OSC_OUT_OF_MEMORY, 0, "no memory for the emulator's stacks");
    return;
  }
  dynamic_ = launch_->dynamic_bytes ? carve(launch_->dynamic_bytes, 16) : nullptr;
  release(&block_start_);
  const unsigned thread = thread_at_[ready_.take_from(0)];
  current_ = thread;
  indices.thread = threads_[thread].index;
  threads_[thread].fiber = first;
  running_ = first;
  switch_fiber(main_, *first);
  running_ = nullptr;
  if (block_failed_) drop_fibers();
  reuse_finished();
  give_arena_back();
}

// ---- the threads of a block

// What a fiber does: the current thread, then the next that can go on.
void Executor::run_threads() {
  Fiber* const mine = running_;
  for (;;) {
    acquire(&block_start_);
    try {
      launch_->call(launch_->closure);
    } catch (...) {
      fail_launch("a kernel threw an exception");
    }
    release(&launch_->end);
    finish_thread();
    const int next = next_thread();
    free_fiber(mine);
    if (next < 0) {
      if (live_ > 0) report_deadlock();
      running_ = nullptr;
      switch_fiber(*mine, main_);
    } else {
      start_or_resume(static_cast<unsigned>(next), mine);
    }
  }
}

int Executor::next_thread() {
  const int position = ready_.take_from((position_of_[current_] + 1u) % kMaxThreads);
  return position < 0 ? -1 : thread_at_[position];
}

// Goes on with `thread` from the fiber `from`; returns when somebody goes on with that fiber.
void Executor::start_or_resume(unsigned thread, Fiber* from) {
  CudaThread& to = threads_[thread];
  current_ = thread;
  indices.thread = to.index;
  to.waits_at.operation = nullptr;
  if (!to.fiber) {
    to.fiber = take_fiber();
    if (!to.fiber) fail_launch("no memory for the emulator's stacks");
  }
  running_ = to.fiber;
  if (to.fiber != from) switch_fiber(*from, *to.fiber);
}

Fiber* Executor::take_fiber() {
  if (!free_first_ && !make_fiber()) return nullptr;
  Fiber* fiber = free_first_;
  free_first_ = fiber->next;
  return fiber;
}

bool Executor::make_fiber() {
  if (fibers_ == kMaxThreads + 1 || !create_fiber(all_[fibers_], fiber_entry)) return false;
  append_free(&all_[fibers_++]);
  return true;
}

// ThreadSanitizer takes what makes a fiber to happen before what the fiber does, so no CUDA thread may make one.
bool Executor::make_fibers_for_block() {
  while (fibers_ <= launch_->threads) {
    if (!make_fiber()) return false;
  }
  return true;
}

// The warm fiber is the next to be used. Not so under ThreadSanitizer: no two threads of a block may have one fiber, and
// neighbouring blocks should not either (what runs on one fiber is ordered). There a fiber waits for the end of its block and
// then at the end of the list, which is longer than a block by one.
void Executor::free_fiber(Fiber* fiber) {
  Fiber*& list = kThreadSanitizer ? finished_ : free_first_;
  if (!list && !kThreadSanitizer) free_last_ = fiber;
  fiber->next = list;
  list = fiber;
}

void Executor::reuse_finished() {
  while (finished_) {
    Fiber* fiber = finished_;
    finished_ = fiber->next;
    append_free(fiber);
  }
}

void Executor::append_free(Fiber* fiber) {
  fiber->next = nullptr;
  if (free_first_) free_last_->next = fiber;
  else free_first_ = fiber;
  free_last_ = fiber;
}

// After a failure: what is left of the block will not run.
void Executor::drop_fibers() {
  for (unsigned i = 0; i < fibers_; ++i) {
#if defined(OSC_TSAN)
    __tsan_switch_to_fiber(all_[i].sanitizer_thread, 1);  // in its name: what it did is over
    release(&launch_->end);
    __tsan_switch_to_fiber(main_.sanitizer_thread, 1);
#endif
    destroy_fiber(all_[i]);
  }
  fibers_ = 0;
  free_first_ = free_last_ = finished_ = nullptr;
}

void Executor::finish_thread() {
  CudaThread& thread = me();
  thread.done = true;
  --live_;
  Warp& warp = warps_[current_ / 32];
  const unsigned bit = 1u << (current_ % 32);
  warp.exited |= bit;
  for (unsigned g = 0; g < warp.groups; ++g) {
    const WarpGroup& group = groups_[current_ / 32 * kMasks + g];
    if (group.arrived && (group.mask & bit)) {
      fail_launch("thread (%u,%u,%u) returned while lanes wait for it in %s at %s:%d", thread.index.x, thread.index.y,
                  thread.index.z, group.place.operation, base_name(group.place.file), group.place.line);
    }
  }
  if (arrived_ > 0 && arrived_ == live_) open_barrier();
}

void Executor::wait(const Place& place, unsigned mask) {
  CudaThread& thread = me();
  thread.waits_at = place;
  thread.mask = mask;
  const int next = next_thread();
  if (next < 0) report_deadlock();
  start_or_resume(static_cast<unsigned>(next), thread.fiber);
}

// ---- barriers and warp operations

void Executor::open_barrier() {
  ++generation_;
  arrived_ = 0;
  predicates_[generation_ % 2] = 0;
  ready_.move_all_from(at_barrier_);
}

int Executor::block_barrier(bool predicate, const Place& place) {
  if (arrived_ == 0) {
    barrier_ = place;
    first_at_barrier_ = current_;
  } else if (!(barrier_ == place)) {
    const uint3 &a = threads_[first_at_barrier_].index, &b = me().index;
    fail_launch("divergent __syncthreads: lines %d and %d of %s, threads (%u,%u,%u) and (%u,%u,%u)", barrier_.line, place.line,
                base_name(place.file), a.x, a.y, a.z, b.x, b.y, b.z);
  }
  const unsigned parity = generation_ % 2;
  predicates_[parity] += predicate ? 1 : 0;
  release(order_object(0, parity));
  if (++arrived_ == live_) {
    open_barrier();
  } else {
    at_barrier_.insert(position_of_[current_]);
    wait(place, 0);
  }
  acquire(order_object(0, parity));
  return predicates_[parity];
}

WarpGroup& Executor::arrive(unsigned mask, const Place& place) {
  const unsigned w = current_ / 32, bit = 1u << (current_ % 32);
  Warp& warp = warps_[w];
  if ((mask & bit) == 0) {
    fail_launch("lane %u is not in its own mask %08x in %s at %s:%d", current_ % 32, mask, place.operation,
                base_name(place.file), place.line);
  }
  if (mask & warp.exited) {
    fail_launch("lane %d of mask %08x in %s at %s:%d has returned or does not exist", __builtin_ctz(mask & warp.exited), mask,
                place.operation, base_name(place.file), place.line);
  }
  WarpGroup* const groups = groups_ + w * kMasks;
  WarpGroup* group = nullptr;
  for (unsigned g = 0; g < warp.groups && !group; ++g) {
    if (groups[g].mask == mask) group = &groups[g];
  }
  if (!group) {
    if (warp.groups < kMasks) {
      group = &groups[warp.groups++];
    } else {
      for (unsigned g = 0; g < kMasks && !group; ++g) {
        if (groups[g].arrived == 0 && groups[g].leaving == 0) group = &groups[g];
      }
      if (!group) fail_launch("more than %u masks in flight in one warp", kMasks);
    }
    group->mask = mask;
    group->arrived = group->leaving = 0;
  }
  if (group->arrived == 0) {
    group->place = place;
  } else if (!(group->place == place)) {
    fail_launch("lanes of mask %08x are in %s at line %d and in %s at line %d of %s", mask, group->place.operation,
                group->place.line, place.operation, place.line, base_name(place.file));
  }
  return *group;
}

// Waits until all lanes of the group have come.
void Executor::leave(WarpGroup& group, unsigned generation, const Place& place) {
  group.arrived |= 1u << (current_ % 32);
  if (group.arrived == group.mask) {
    group.arrived = 0;
    group.leaving += static_cast<unsigned>(__builtin_popcount(group.mask));
    group.generation = generation + 1;
    for (unsigned rest = group.mask & ~(1u << (current_ % 32)); rest; rest &= rest - 1) {
      ready_.insert(position_of_[current_ / 32 * 32 + static_cast<unsigned>(__builtin_ctz(rest))]);
    }
  } else {
    wait(place, group.mask);
  }
  --group.leaving;
}

WarpSlots Executor::exchange(unsigned mask, const void* value, size_t bytes, const Place& place) {
  WarpGroup& group = arrive(mask, place);
  const unsigned generation = group.generation;
  unsigned char* slots = group.slots[generation % 2];
  copy_bytes(slots + current_ % 32 * kSlotBytes, value, bytes);
  leave(group, generation, place);
  return {slots, mask};
}

void Executor::warp_barrier(unsigned mask, const Place& place) {
  WarpGroup& group = arrive(mask, place);
  const unsigned generation = group.generation;
  void* const order = order_object(1 + static_cast<size_t>(&group - groups_), generation % 2);
  release(order);
  leave(group, generation, place);
  acquire(order);
}

// ---- shared memory

void* Executor::carve(size_t bytes, size_t alignment) {
  const size_t from = (arena_used_ + alignment - 1) / alignment * alignment;
  const size_t words = (bytes + 7) / 8;
  arena_used_ = (from + bytes + kRedZone + 15) / 16 * 16;
  shared_bytes_ += bytes;
  unsigned char* array = arena_ + from;
  allow(array, bytes);
  auto* values = reinterpret_cast<volatile uint64_t*>(array);
  for (size_t i = 0; i < words; ++i) values[i] = kPoison;
  return array;
}

void* Executor::shared_array(const void* key, size_t bytes, size_t alignment, const char* file, int line) {
  for (unsigned i = 0; i < array_count_; ++i) {
    if (arrays_[i].key == key) return arrays_[i].address;
  }
  const size_t fixed = shared_bytes_ - launch_->dynamic_bytes;
  if (fixed + bytes > kStaticLimit || shared_bytes_ + bytes > kSharedLimit || array_count_ == kArrays) {
    fail_launch("%zu bytes of shared memory (%zu of them dynamic) with the array at %s:%d: more than a block may have",
                shared_bytes_ + bytes, launch_->dynamic_bytes, base_name(file), line);
  }
  arrays_[array_count_] = {key, carve(bytes, alignment < 16 ? 16 : alignment)};
  return arrays_[array_count_++].address;
}

// Every block gets a fresh mapping under ThreadSanitizer: the same addresses are other memory in another block.
void Executor::give_arena_back() {
  if (kThreadSanitizer) {
    munmap(arena_, kArenaBytes);
    arena_ = nullptr;
  } else {
    forbid(arena_, arena_used_);
  }
}

// ---- asynchronous copies: a queue of each thread, in order

void Executor::copy_async(const AsyncCopy& copy) {
  const auto address = reinterpret_cast<uintptr_t>(copy.shared), source = reinterpret_cast<uintptr_t>(copy.global);
  if (address % static_cast<unsigned>(copy.bytes) || source % static_cast<unsigned>(copy.bytes)) {
    fail_launch("an asynchronous copy of %d bytes is not aligned to %d", copy.bytes, copy.bytes);
  }
  if (address < reinterpret_cast<uintptr_t>(arena_) || address >= reinterpret_cast<uintptr_t>(arena_) + kArenaBytes) {
    fail_launch("an asynchronous copy does not go to shared memory");
  }
  CudaThread& thread = me();
  if (thread.copies == kCopies) fail_launch("more than %u asynchronous copies of one thread in flight", kCopies);
  copies_[size_t{current_} * kCopies + (thread.first_copy + thread.copies++) % kCopies] = {copy, thread.groups};
}

void Executor::commit_copies() { ++me().groups; }

bool Executor::next_copy(int kept, AsyncCopy* copy) {
  CudaThread& thread = me();
  if (thread.copies == 0) return false;
  const PendingCopy& oldest = copies_[size_t{current_} * kCopies + thread.first_copy];
  // Copies behind the last commit belong to no group yet: no wait is for them.
  if (oldest.group >= thread.groups || thread.groups - oldest.group <= static_cast<unsigned>(kept)) return false;
  *copy = oldest.copy;
  thread.first_copy = (thread.first_copy + 1) % kCopies;
  --thread.copies;
  return true;
}

// ---- failures

template <class... Values>
void Executor::fail_launch(const char* format, Values... values) {
  if (launch_->failed.exchange(1) == 0) {
    launch_->status = fail(OSC_INTERNAL, 0, format, values...);
    const size_t length = std::strlen(launch_->status.message);
    std::snprintf(launch_->status.message + length, sizeof launch_->status.message - length, " (block %u,%u,%u)",
                  indices.block.x, indices.block.y, indices.block.z);
  }
  block_failed_ = true;
  Fiber abandoned;
  switch_fiber(running_ ? *running_ : abandoned, main_);
  __builtin_unreachable();
}

// Names the first threads that wait, one for each place.
void Executor::report_deadlock() {
  char text[160] = {0};
  size_t length = 0;
  const Place* named[3];
  unsigned places = 0;
  for (unsigned t = 0; t < launch_->threads && places < 3; ++t) {
    const CudaThread& thread = threads_[t];
    if (thread.done || !thread.waits_at.operation) continue;
    bool seen = false;
    for (unsigned i = 0; i < places; ++i) seen = seen || *named[i] == thread.waits_at;
    if (seen) continue;
    named[places++] = &thread.waits_at;
    const int written = std::snprintf(text + length, sizeof text - length, "%s(%u,%u,%u) in %s at %s:%d", length ? "; " : "",
                                      thread.index.x, thread.index.y, thread.index.z, thread.waits_at.operation,
                                      base_name(thread.waits_at.file), thread.waits_at.line);
    length += written > 0 ? static_cast<size_t>(written) : 0;
    if (length >= sizeof text) break;
  }
  fail_launch("deadlock: %s", text);
}

// ---- launching

Status check_shape(const dim3& grid, const dim3& block, size_t dynamic_bytes) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (block.x == 0 || block.y == 0 || block.z == 0 || threads > kMaxThreads || block.z > 64) {
    return fail(OSC_INTERNAL, 0, "launch: a block of %u x %u x %u threads", block.x, block.y, block.z);
  }
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535) {
    return fail(OSC_INTERNAL, 0, "launch: a grid of %u x %u x %u blocks", grid.x, grid.y, grid.z);
  }
  if (dynamic_bytes > kSharedLimit) {
    return fail(OSC_INTERNAL, 0, "launch: %zu bytes of dynamic shared memory, a block may have %zu", dynamic_bytes, kSharedLimit);
  }
  return ok();
}

void run_part(void* data) {
  if (!executor) executor = new Executor;  // kept for the life of the OS thread
  Launch& launch = *static_cast<Launch*>(data);
  if (executor->ready()) executor->run(launch);
  else if (launch.failed.exchange(1) == 0) launch.status = fail(OSC_OUT_OF_MEMORY, 0, "no memory for the emulator");
}

}  // namespace

Status run_launch(void (*call)(void*), void* closure, dim3 grid, dim3 block, size_t dynamic_bytes) {
  static std::atomic<uint64_t> launches{0};
  if (const char* mistake = settings().mistake) return fail(OSC_ARGUMENT, 0, "%s has no meaning", mistake);
  OSC_TRY(check_shape(grid, block, dynamic_bytes));
  const DeviceAccess access;
  Launch launch;
  launch.call = call;
  launch.closure = closure;
  launch.grid = grid;
  launch.block = block;
  launch.dynamic_bytes = dynamic_bytes;
  launch.threads = block.x * block.y * block.z;
  launch.blocks = uint64_t{grid.x} * grid.y * grid.z;
  launch.number = launches.fetch_add(1);
  release(&launch.start);
  constexpr uint64_t kWorthHelp = 4096;  // CUDA threads; fewer are done before a helper is awake
  const bool alone = launch.blocks * launch.threads < kWorthHelp || launch.blocks == 1;
  run_with_helpers(alone ? 1 : settings().threads, run_part, &launch);
  acquire(&launch.end);
  return launch.status;
}

int lane_index() { return executor->lane(); }
int block_barrier(bool predicate, const char* file, int line) {
  return executor->block_barrier(predicate, {"__syncthreads", file, line});
}
void warp_barrier(unsigned mask, const char* file, int line) { executor->warp_barrier(mask, {"__syncwarp", file, line}); }
WarpSlots exchange(unsigned mask, const char* operation, const void* value, size_t bytes, const char* file, int line) {
  return executor->exchange(mask, value, bytes, {operation, file, line});
}
void* shared_array(const void* key, size_t bytes, size_t alignment, const char* file, int line) {
  return executor->shared_array(key, bytes, alignment, file, line);
}
void* dynamic_shared_bytes() { return executor->dynamic_shared(); }
void copy_async(void* shared, const void* global, int bytes, int valid) {
  executor->copy_async({shared, global, bytes, valid});
}
void commit_copies() { executor->commit_copies(); }
bool next_copy(int kept, AsyncCopy* copy) { return executor->next_copy(kept, copy); }

// Fences are put in one order: more than CUDA promises, and enough to judge code that uses none.
void memory_fence() {
  static char order;
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  acquire(&order);
  release(&order);
}

void trap(const char* message, const char* file, int line) {
  const uint3& thread = indices.thread;
  executor->fail_launch("%s: thread (%u,%u,%u) at %s:%d", message, thread.x, thread.y, thread.z, base_name(file), line);
}

}  // namespace osc::emulator
