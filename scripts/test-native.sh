#!/usr/bin/env bash
# Builds the C++ tests in a build folder of their own and runs them once for each CPU path.
#   bash scripts/test-native.sh BUILD_FOLDER LOG [CMAKE OPTIONS...]
# The build is quiet unless it fails; the tests' own output is shown and kept in LOG, one a path (x.log: x-avx2.log).
# A path that this processor lacks is run as the best it has.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$1 log=$2
shift 2
mkdir -p "$folder" "$(dirname "$log")"

build() {
  cmake -S . -B "$folder" -DOSC_TESTS=ON -DOSC_ADDON=OFF "$@" &&
    cmake --build "$folder" --target osculate_tests --parallel "$(nproc)"
}

if ! build "$@" >"$folder/build.log" 2>&1; then
  tail -n 60 "$folder/build.log"
  echo "the native tests do not build" | tee "$log"
  exit 1
fi
status=0
for path in portable avx2 avx512; do
  echo "C++ tests, OSCULATE_CPU=$path"
  OSCULATE_CPU=$path "$folder/osculate_tests" 2>&1 | tee "${log%.log}-$path.log" || status=1
done
exit "$status"
