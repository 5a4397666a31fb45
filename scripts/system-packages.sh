# Sourced by setup.sh: finds the system tools of the native build and says, or installs, what is missing.
# Everything is tried, not looked up: a compiler that cannot compile C++20 is a missing compiler.
# shellcheck shell=bash

readonly cxx=${CXX:-g++}
missing=()      # Debian package names
missing_text=() # what a person calls them

say() { printf 'osculate set-up: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

need() { # need PACKAGES TEXT
  local -a packages
  read -ra packages <<<"$1"
  missing+=("${packages[@]}")
  missing_text+=("$2")
}

# compiles FLAGS... <source: whether the compiler accepts the program on standard input.
compiles() {
  "$cxx" -std=c++20 -x c++ - -o "$scratch/a.out" "$@" >/dev/null 2>&1
}

has_compiler() {
  command -v "$cxx" >/dev/null && compiles -fsyntax-only <<'CPP'
#include <bit>
#include <concepts>
#include <span>
template <std::unsigned_integral T> constexpr int width(std::span<const T> x) { return std::bit_width(x[0]); }
int main() { const unsigned x[] = {4}; return width<unsigned>(x) - 3; }
CPP
}

has_cmake() {
  local version
  version=$(cmake --version 2>/dev/null | sed -n 's/^cmake version //p') || return 1
  [[ -n $version && $(printf '3.19\n%s\n' "$version" | sort -V | head -n 1) == 3.19 ]]
}

has_build_tool() { command -v make >/dev/null || command -v ninja >/dev/null; }

has_blas() {
  compiles -lopenblas <<'CPP'
#include <cblas.h>
extern "C" void dpotrf_(const char*, const int*, double*, const int*, int*);
int main() { int n = 1, info = 0; double a = 4; dpotrf_("L", &n, &a, &n, &info); return info + openblas_get_num_threads() * 0; }
CPP
}

has_doctest() {
  compiles -fsyntax-only <<'CPP'
#include <doctest/doctest.h>
CPP
}

# libgfortran.a, which a statically linked OpenBLAS needs; without it the addon links dynamically.
has_static_fortran() { [[ $("$cxx" -print-file-name=libgfortran.a 2>/dev/null) == /* ]]; }

# Its Debian package carries the major version of gcc.
fortran_package() {
  local major
  major=$("$cxx" -dumpversion 2>/dev/null | cut -d. -f1) || true
  echo "libgfortran-${major:-12}-dev"
}

# Fills missing and missing_text.
missing_tools() {
  missing=() missing_text=()
  scratch=$(mktemp -d)
  has_cmake || need cmake "cmake >= 3.19"
  has_build_tool || need make "make (or ninja)"
  if has_compiler; then
    has_blas || need libopenblas-dev "OpenBLAS (its library and cblas.h)"
    has_doctest || need doctest-dev "doctest (doctest/doctest.h)"
  else
    # Nothing that is compiled can be looked for without a compiler: name it alone, install the rest with it.
    need "g++ libopenblas-dev doctest-dev" "a C++20 compiler ($cxx; g++ >= 11)"
  fi
  rm -rf "$scratch"
}

explain_missing() {
  local text command="install the packages that hold these, then try again"
  for text in "${missing_text[@]}"; do say "missing: $text"; done
  if command -v apt-get >/dev/null; then
    command="run this, then try again:  sudo apt-get install -y ${missing[*]}"
  fi
  fail "$command"
}

may_install() {
  [[ ${OSCULATE_SETUP_INSTALL:-1} != 0 && -e /etc/debian_version && $(id -u) == 0 ]] && command -v apt-get >/dev/null
}

apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 "$@" </dev/null 9>&-
}

# apt_install PACKAGES...: the package lists are refreshed only when the install fails without.
apt_install() {
  apt install --no-install-recommends "$@" >"$log" 2>&1 ||
    { apt update && apt install --no-install-recommends "$@"; } >>"$log" 2>&1
}

ensure_system_packages() {
  missing_tools
  if ! may_install; then
    if ((${#missing[@]})); then explain_missing; fi
    return 0
  fi
  if ((${#missing[@]})); then
    say "installing ${missing[*]}"
    if ! apt_install "${missing[@]}"; then
      tail -n 20 "$log" >&2
      explain_missing
    fi
    missing_tools
    if ((${#missing[@]})); then explain_missing; fi
  fi
  if ! has_static_fortran; then
    say "installing $(fortran_package)"
    apt_install "$(fortran_package)" || say "no static libgfortran: OpenBLAS will be linked dynamically"
  fi
}
