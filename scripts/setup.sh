#!/usr/bin/env bash
# Makes a checkout ready to test, demo and bench: system packages, node_modules, the native addon, dist/.
#
#   bash scripts/setup.sh           do what is missing; a finished set-up is recognised in under 2 seconds
#   bash scripts/setup.sh --check   only look for the compiler, cmake, BLAS and doctest; change nothing
#
# As root on Debian missing system packages are installed; anywhere else the command to run is printed and
# this stops. OSCULATE_SETUP_INSTALL=0 asks for the printed command there too.
# Each step is decided by what is there, not by a note that it once ran: node_modules against the lock file,
# the two builds against a hash of their sources. Neither git nor a network is needed when nothing changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/system-packages.sh
source scripts/system-packages.sh

readonly addon=build/cmake/Release/osculate.node
readonly stamp=build/.setup-stamp
readonly log=build/setup.log

# quietly LABEL COMMAND...: run it with its output in the log; on failure show the log's end and stop.
quietly() {
  local label=$1
  shift
  say "$label"
  # 9 is the lock: a child that outlives this script must not hold it.
  if ! "$@" >"$log" 2>&1 </dev/null 9>&-; then
    tail -n 40 "$log" >&2
    fail "\"$*\" failed; the whole output is in $log"
  fi
}

# fingerprint PATH...: one hash over the names and contents of all files below; missing paths count as empty.
fingerprint() {
  local path
  local -a found=()
  for path in "$@"; do
    if [[ -e $path ]]; then found+=("$path"); fi
  done
  find "${found[@]}" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1
}

# stamped KEY: the fingerprint of the last finished step, empty when there is none.
stamped() {
  if [[ -f $stamp ]]; then sed -n "s/^$1 //p" "$stamp"; fi
}

# stamp_step KEY FINGERPRINT: written whole, so that a killed set-up leaves the old stamp or the new one.
stamp_step() {
  { if [[ -f $stamp ]]; then grep -v "^$1 " "$stamp" || true; fi; echo "$1 $2"; } >"$stamp.tmp"
  mv "$stamp.tmp" "$stamp"
}

require_node() {
  command -v node >/dev/null || fail "Node.js >= 20.17 is missing: install it, then try again"
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 17) ? 0 : 1)' ||
    fail "Node.js >= 20.17 is needed, this is $(node --version)"
}

# The lock is held until this script ends: two runs at once wait for each other instead of mixing files.
take_lock() {
  mkdir -p build
  command -v flock >/dev/null || return 0
  exec 9>build/.setup-lock
  if ! flock --nonblock 9; then
    say "another set-up is running here; waiting for it"
    flock 9
  fi
}

install_modules() {
  if node scripts/check-modules.mjs; then return 0; fi
  quietly "npm ci" npm ci --include=dev
}

build_native() {
  local sources
  sources=$(fingerprint CMakeLists.txt sources.json native cuda package.json package-lock.json)
  if [[ -f $addon && $(stamped native) == "$sources" ]]; then return 0; fi
  ensure_system_packages
  export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
  quietly "building the native addon" npm run --silent build:native
  [[ -f $addon ]] || fail "the native build made no $addon; see $log"
  stamp_step native "$sources"
}

build_typescript() {
  local sources
  sources=$(fingerprint lib tsconfig.json tsconfig.build.json package.json package-lock.json)
  if [[ -f dist/index.js && $(stamped typescript) == "$sources" ]]; then return 0; fi
  quietly "compiling lib/ to dist/" npm run --silent build:ts
  stamp_step typescript "$sources"
}

case "${1:-}" in
  "") ;;
  --check)
    missing_tools
    if ((${#missing[@]})); then explain_missing; fi
    say "compiler, cmake, BLAS and doctest are there"
    exit 0
    ;;
  *) fail "expected --check or nothing but received \"$1\"" ;;
esac

require_node
take_lock
install_modules
build_native
build_typescript
