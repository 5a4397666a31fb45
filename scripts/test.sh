#!/usr/bin/env bash
# Runs the tests after setup.sh (`npm test`).
#
#   bash scripts/test.sh                native tests, then Jest, then one line with the sum
#   bash scripts/test.sh ARGS...        Jest alone, with these arguments: a path pattern, -t "name", --watch
#
# Results stay in build/test-results/ (native-*.log, jest.json); .ci/run reads them too.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

jest=(node node_modules/jest/bin/jest.js)
if (($#)); then exec "${jest[@]}" "$@"; fi

results=build/test-results
rm -rf "$results"
mkdir -p "$results"

bash scripts/test-native.sh build/native-tests "$results/native.log" -DCMAKE_BUILD_TYPE=RelWithDebInfo
native=$?
"${jest[@]}" --json --outputFile="$results/jest.json"
suites=$?

node scripts/count-tests.mjs "$results"
((native == 0 && suites == 0))
