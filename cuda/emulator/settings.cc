#include "emulator/settings.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <thread>

#include "emulator/sanitizers.h"

namespace osc::emulator {
namespace {

bool read_number(const std::string& text, uint64_t* value) {
  if (text.empty() || text.find_first_not_of("0123456789") != std::string::npos || text.size() > 18) return false;
  *value = std::strtoull(text.c_str(), nullptr, 10);
  return true;
}

bool read_order(const std::string& text, Settings* result) {
  if (text == "ascending") result->order = Order::kAscending;
  else if (text == "descending") result->order = Order::kDescending;
  else if (text.rfind("random", 0) == 0) result->order = Order::kRandom;
  else return false;
  if (result->order != Order::kRandom || text == "random") return true;
  return text[6] == ':' && read_number(text.substr(7), &result->seed);
}

Settings read_environment() {
  Settings result;
  const char* order = std::getenv("OSCULATE_EMULATOR_ORDER");
  const char* threads = std::getenv("OSCULATE_EMULATOR_THREADS");
  const char* memory = std::getenv("OSCULATE_EMULATOR_MEMORY");
  if (order && !read_order(order, &result)) result.mistake = "OSCULATE_EMULATOR_ORDER";
  const unsigned processors = std::max(1u, std::thread::hardware_concurrency());
  // ThreadSanitizer reasons about the CUDA threads, however few OS threads they run on.
  uint64_t count = order || kThreadSanitizer ? 1 : std::min(processors, 16u);
  if (threads && (!read_number(threads, &count) || count < 1 || count > 256)) result.mistake = "OSCULATE_EMULATOR_THREADS";
  result.threads = static_cast<int>(count);
  result.memory_bytes = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) / 2;
  if (memory && !read_number(memory, &result.memory_bytes)) result.mistake = "OSCULATE_EMULATOR_MEMORY";
  return result;
}

}  // namespace

Settings& settings() {
  static Settings instance = read_environment();
  return instance;
}

}  // namespace osc::emulator
