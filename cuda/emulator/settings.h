// How the emulator runs a launch. From the environment, read once:
//   OSCULATE_EMULATOR_ORDER    ascending (default), descending or random[:seed]: the order of blocks, and of the threads in a
//                              block whenever more than one could go on
//   OSCULATE_EMULATOR_THREADS  OS threads that blocks are spread over; default all processors, or 1 when an order is named
//   OSCULATE_EMULATOR_MEMORY   bytes of the emulated device; default half of the machine's memory
#pragma once
#include <cstdint>

namespace osc::emulator {

enum class Order { kAscending, kDescending, kRandom };

struct Settings {
  Order order = Order::kAscending;
  uint64_t seed = 1;
  int threads = 1;
  uint64_t memory_bytes = 0;
  const char* mistake = nullptr;  // the variable that could not be read: every launch is refused with its name
};

Settings& settings();

}  // namespace osc::emulator
