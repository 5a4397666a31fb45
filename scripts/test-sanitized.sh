#!/usr/bin/env bash
# The C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer.
#   bash scripts/test-sanitized.sh LOG
# Leaks are looked for only where the process may trace itself; some containers forbid it, and the leak checker
# then kills a good run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
bash scripts/test-native.sh build/native-sanitized "$1" -DOSC_SANITIZE=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo
