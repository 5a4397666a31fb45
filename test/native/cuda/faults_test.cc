// Proves that the checks can fail: each planted fault, by name, is found by the checks named here, and the same kernel without
// the fault passes under them. A check that is not listed for a fault is known not to see it.
//
// planted_faults-plain, -asan and -tsan lie beside this program.
#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

namespace {

struct Expectation {
  const char* fault;
  const char* check;   // plain: the emulator alone, with permuted orders
  const char* needle;  // in the output
};

constexpr Expectation kExpected[] = {
    {"missing_syncthreads", "plain", "wrong: nan"},
    {"missing_syncthreads", "tsan", "WARNING: ThreadSanitizer: data race"},
    {"missing_syncthreads_behind_shuffles", "tsan", "WARNING: ThreadSanitizer: data race"},
    {"missing_syncthreads_before_reuse", "tsan", "WARNING: ThreadSanitizer: data race"},
    {"missing_syncwarp", "plain", "wrong: nan"},
    {"missing_syncwarp", "tsan", "WARNING: ThreadSanitizer: data race"},
    {"shared_index_out_of_bounds", "asan", "index 64 out of bounds for type"},
    {"dynamic_shared_overrun", "asan", "AddressSanitizer: use-after-poison"},
    {"two_blocks_one_address", "tsan", "WARNING: ThreadSanitizer: data race"},
    {"missing_copy_wait", "plain", "wrong: nan"},
    {"unwritten_shared_read", "plain", "wrong: nan"},
    {"unset_device_memory", "plain", "wrong: nan"},
    {"global_overrun", "plain", "status: a kernel wrote past the end of 256 bytes"},
    {"global_overrun", "asan", "AddressSanitizer: use-after-poison"},
    {"divergent_barrier", "plain", "status: divergent __syncthreads: lines"},
    {"lane_not_in_mask", "plain", "status: lane 31 is not in its own mask 7fffffff in __shfl_sync"},
    {"deadlock", "plain", "status: deadlock: "},
    {"too_much_shared_memory", "plain", "status: launch: 307200 bytes of dynamic shared memory"},
    {"bad_launch_shape", "plain", "status: launch: a block of 2048 x 1 x 1 threads"},
    {"host_reads_device_memory", "plain", "Segmentation fault"},
};

constexpr const char* kOrders[] = {"ascending", "descending", "random:3"};

std::string folder() {
  char path[4096];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  REQUIRE(length > 0);
  const std::string self(path, static_cast<size_t>(length));
  return self.substr(0, self.rfind('/'));
}

struct Outcome {
  bool succeeded;
  std::string output;
};

Outcome run(const Expectation& expected, const char* variant, const char* order) {
  const std::string command = std::string("exec 2>&1; ulimit -c 0; OSCULATE_EMULATOR_ORDER=") + order +
                              " TSAN_OPTIONS=halt_on_error=1:atexit_sleep_ms=0 ASAN_OPTIONS=detect_leaks=0 bash -c '" + folder() + "/planted_faults-" +
                              expected.check + " " + expected.fault + " " + variant + "; exit $?'";
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe);
  std::string output;
  char part[4096];
  for (size_t got; (got = std::fread(part, 1, sizeof part, pipe)) > 0;) output.append(part, got);
  return {pclose(pipe) == 0, output};
}

}  // namespace

TEST_CASE("every planted fault is found, by name, and its kernel without the fault is not") {
  for (const Expectation& expected : kExpected) {
    for (const char* order : kOrders) {
      SUBCASE((std::string(expected.fault) + ", " + expected.check + ", " + order).c_str()) {
        const Outcome faulty = run(expected, "faulty", order);
        CAPTURE(faulty.output);
        CHECK_FALSE(faulty.succeeded);
        const bool named = faulty.output.find(expected.needle) != std::string::npos;
        CHECK(named);
        const Outcome correct = run(expected, "correct", order);
        CAPTURE(correct.output);
        CHECK(correct.succeeded);
        CHECK(correct.output == "right\n");
      }
    }
  }
}
