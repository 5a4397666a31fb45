#!/usr/bin/env bash
# Builds the addon with node-gyp from binding.gyp, in a copy so that the cmake build is left alone, then loads it
# and runs one kernel through the library.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# node-gyp has needs of its own, beyond those of the set-up.
tools=()
for tool in python3 make; do command -v "$tool" >/dev/null || tools+=("$tool"); done
if ((${#tools[@]})); then
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "node-gyp needs ${tools[*]}: sudo apt-get install -y ${tools[*]}"
    exit 1
  fi
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "${tools[@]}" >/dev/null
fi

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r package.json binding.gyp sources.json native dist "$copy"/
ln -s "$PWD/node_modules" "$copy/node_modules"

# node-gyp would download Node's headers; take those beside the node program when they are there.
prefix=$(dirname "$(dirname "$(node -p 'process.execPath')")")
options=()
if [[ -e $prefix/include/node/node_api.h ]]; then options+=("--nodedir=$prefix"); fi

if ! (cd "$copy" && node node_modules/node-gyp/bin/node-gyp.js rebuild "${options[@]}" --jobs="$(nproc)" </dev/null) \
  >"$copy/build.log" 2>&1; then
  tail -n 60 "$copy/build.log"
  exit 1
fi

# The copy has no cmake build, so nothing else can be loaded in its place.
cd "$copy"
OSCULATE_ADDON="$copy/build/Release/osculate.node" node --input-type=module --eval '
  import { Tensor } from "osculate";
  const copy = Tensor.from(new Float32Array([1, 2.5, -3]), [3]).toDType("float64");
  const values = [...(await copy.data())];
  if (values.join() !== "1,2.5,-3") throw new Error(`convert gave ${values}`);
  console.log("the node-gyp addon loads and runs a kernel");
'
