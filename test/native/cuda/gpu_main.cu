// Opens the GPU before the tests of common/ run on it.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

#include "common/device.h"

int main(int count, char** words) {
  OscDeviceInfo info;
  const osc::Status status = osc::open_device_memory(&info);
  if (status.code != OSC_OK) {
    std::fprintf(stderr, "%s\n", status.message);
    return 2;
  }
  std::printf("%s: %s\n", info.name, info.versions);
  return doctest::Context(count, words).run();
}
