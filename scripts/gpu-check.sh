#!/usr/bin/env bash
# The check on a real GPU, in two halves, since the machine with the GPU may reach no network and have no BLAS:
#
#   bash scripts/gpu-check.sh bundle               where this builds: everything for sm_90, with Node and the modules the tests
#                                                  need, into build/gpu-bundle.tar.xz
#   bash scripts/gpu-check.sh run OUT.json         on the GPU, from a checkout that has the bundle: kernel tests, the Node
#                                                  battery, compute-sanitizer, benchmarks here and in PyTorch; under 9 minutes
#   bash scripts/gpu-check.sh run OUT.json emulator   the same steps with the emulator standing in, as far as they go
#
# OSC_GPU_ARCH (default 90a-real) is another GPU's architecture for `bundle`. Every step has a time limit and a place in
# OUT.json: its status, seconds and last lines; a failed step does not stop the others, and the exit code is 1.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly unpacked=build/gpu-bundle

bundle() {
  set -e
  local build=build/gpu
  cmake -S . -B "$build" -DOSC_TESTS=ON -DOSC_ADDON=OFF -DOSC_CUDA=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    "-DOSC_CUDA_ARCHITECTURES=${OSC_GPU_ARCH:-90a-real}"
  cmake --build "$build" --parallel "$(nproc)" --target osculate_cuda osculate_gpu_tests osculate_kernel_tests-plain bench_kernels
  rm -rf "$unpacked"
  mkdir -p "$unpacked/bin"
  cp "$build/cuda/libosculate_cuda.so" "$build/cuda/osculate_gpu_tests" "$build/test/native/cuda/osculate_kernel_tests-plain" \
    "$build/bench/kernels/bench_kernels" build/cmake/Release/osculate.node "$(command -v node)" "$unpacked/bin"
  strip "$unpacked"/bin/osculate_* "$unpacked/bin/bench_kernels"
  node scripts/copy-modules.mjs "$unpacked/node_modules"
  tar -C build -cf - gpu-bundle | xz -3 -T0 >build/gpu-bundle.tar.xz
  ls -l build/gpu-bundle.tar.xz
}

steps=()  # JSON objects
failed=0
# step NAME SECONDS COMMAND...
step() {
  local name=$1 limit=$2 start=$SECONDS status=0
  shift 2
  printf '=== %s\n' "$name"
  timeout "$limit" "$@" >"$logs/$name.log" 2>&1 </dev/null || status=$?
  tail -n 5 "$logs/$name.log"
  if ((status)); then failed=1; fi
  steps+=("$name $status $((SECONDS - start))")
}
skip() {
  printf '=== %s: skipped, %s\n' "$1" "$2"
  steps+=("$1 skipped 0 $2")
}

run() {
  readonly out=$1 device=${2:-cuda}
  readonly logs=build/gpu-logs
  rm -rf "$logs"
  mkdir -p "$logs"
  if [[ $device == cuda ]]; then
    if [[ ! -d $unpacked ]]; then tar -C build -xJf build/gpu-bundle.tar.xz; fi
    readonly bin=$PWD/$unpacked/bin
    export OSCULATE_TEST_PLUGIN=$bin/libosculate_cuda.so OSCULATE_ADDON=$bin/osculate.node PATH=$bin:$PATH
    if [[ ! -d node_modules ]]; then ln -s "$unpacked/node_modules" node_modules; fi
    readonly kernel_tests=$bin/osculate_kernel_tests-plain common_tests=$bin/osculate_gpu_tests bench=$bin/bench_kernels
    readonly divisor=1 python=${PYTHON:-python3} torch_device=cuda
  else
    readonly tests=$PWD/build/native-tests
    export OSCULATE_TEST_PLUGIN=$PWD/build/cmake/Release/libosculate_emulator.so
    readonly kernel_tests=$tests/test/native/cuda/osculate_kernel_tests-plain
    readonly common_tests=$tests/test/native/cuda/osculate_emulator_tests-plain bench=$tests/bench/kernels/bench_kernels
    readonly divisor=64 python=${PYTHON:-python3} torch_device=cpu
  fi
  export OSCULATE_TEST_DEVICE=$device
  export OSCULATE_CUDA_PLUGIN=$OSCULATE_TEST_PLUGIN
  if [[ $device == cuda ]]; then export OSCULATE_REQUIRE_DEVICES=cuda; else unset OSCULATE_CUDA_PLUGIN; fi

  step kernel-tests 60 "$kernel_tests"
  step common-tests 30 "$common_tests"
  step node-battery 120 node node_modules/jest/bin/jest.js -t "on $device" test/kernels
  if [[ $device == cuda ]] && command -v compute-sanitizer >/dev/null; then
    step memcheck 90 compute-sanitizer --tool memcheck --error-exitcode 1 "$kernel_tests"
    step racecheck 90 compute-sanitizer --tool racecheck --error-exitcode 1 "$kernel_tests"
  else
    skip memcheck "compute-sanitizer needs a GPU"
    skip racecheck "compute-sanitizer needs a GPU"
  fi
  step bench 60 bash -c '"$0" "$1" "$2" "$3" >"$4"' "$bench" "$device" "$OSCULATE_TEST_PLUGIN" "$divisor" "$logs/bench.json"
  if "$python" -c "import torch" 2>/dev/null; then
    step torch 80 bash -c '"$0" bench/kernels/torch_rows.py "$1" "$2" >"$3"' "$python" "$torch_device" "$divisor" "$logs/torch.json"
  else
    skip torch "no PyTorch for $python"
  fi
  printf '%s\n' "${steps[@]}" | node scripts/gpu-report.mjs "$logs" "$device" >"$out"
  echo "$out: $( ((failed)) && echo 'some steps failed' || echo 'all steps passed')"
  exit "$failed"
}

case "${1:-}" in
  bundle) bundle ;;
  run) run "${2:?a file for the results}" "${3:-cuda}" ;;
  *)
    sed -n '2,12p' "$0"
    exit 2
    ;;
esac
