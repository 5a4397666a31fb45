#!/usr/bin/env bash
# The CUDA kernels without a GPU: the tests of the emulator, every kernel beside the CPU's, and the planted faults; plain,
# under ASan with UBSan and under TSan with a thread for each CUDA thread, each in three orders of execution.
#   bash scripts/test-cuda.sh RESULTS_FOLDER     writes cuda-*.log there
# Needs what setup.sh builds. The build is quiet unless it fails; of the tests, what fails is shown.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly folder=build/native-tests results=$1
mkdir -p "$folder" "$results"

build() {
  cmake -S . -B "$folder" -DOSC_TESTS=ON -DOSC_ADDON=OFF -DCMAKE_BUILD_TYPE=RelWithDebInfo &&
    cmake --build "$folder" --target osculate_cuda_tests --parallel "$(nproc)"
}
if ! build >"$folder/build-cuda.log" 2>&1; then
  tail -n 60 "$folder/build-cuda.log"
  echo "the CUDA tests do not build" | tee "$results/cuda.log"
  exit 1
fi

export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1:atexit_sleep_ms=0
# One thread: the CPU kernels are not instrumented, and only the device's threads are looked at.
export OSCULATE_THREADS=1
status=0
check() { # check NAME PROGRAM
  local log="$results/cuda-$1.log"
  if "$2" >"$log" 2>&1; then
    echo "$1: $(grep -o '[0-9]* passed' "$log" | head -n 1)"
  else
    status=1
    tail -n 60 "$log"
    echo "$1: FAILED, whole output in $log"
  fi
}
readonly tests=$folder/test/native/cuda
for flavour in plain asan tsan; do
  export OSCULATE_TEST_PLUGIN=$PWD/$tests/libosculate_emulator-$flavour.so
  if [[ $flavour == plain ]]; then OSCULATE_TEST_PLUGIN=$PWD/build/cmake/Release/libosculate_emulator.so; fi
  for order in ascending descending random:7; do
    export OSCULATE_EMULATOR_ORDER=$order
    check "emulator-$flavour-${order%:*}" "$tests/osculate_emulator_tests-$flavour"
    check "kernels-$flavour-${order%:*}" "$tests/osculate_kernel_tests-$flavour"
  done
done
unset OSCULATE_EMULATOR_ORDER
check planted-faults "$tests/osculate_fault_tests"
exit "$status"
