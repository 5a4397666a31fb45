#!/usr/bin/env bash
# Stands before nvcc in the build (CMake's compiler launcher): what ptxas says about registers and spills goes to OBJECT.ptxas,
# which check-ptxas.mjs reads, everything else to the screen.
set -uo pipefail
object=
for ((i = 1; i < $#; ++i)); do
  if [[ ${!i} == -o ]]; then
    next=$((i + 1))
    object=${!next}
  fi
done
log=${object:-/tmp/nvcc}.ptxas
"$@" >"$log" 2>&1
status=$?
grep -v -E "^ptxas info|^    [0-9]+ bytes stack frame|^    Function properties|Compile time = " "$log"
exit "$status"
