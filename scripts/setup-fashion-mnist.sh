#!/usr/bin/env bash
# Makes Fashion-MNIST readable for the examples: Debian's package dataset-fashion-mnist (31 MB, MIT).
#
#   bash scripts/setup-fashion-mnist.sh [FOLDER]     FOLDER: where to look; default where Debian puts it
#
# As root on Debian it is installed; anywhere else, or with OSCULATE_SETUP_INSTALL=0, the command to run is printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/system-packages.sh
source scripts/system-packages.sh

readonly folder=${1:-/usr/share/datasets/fashion-mnist}
readonly log=build/setup-fashion-mnist.log

is_there() {
  local part
  for part in train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1; do
    [[ -s $folder/$part-ubyte.gz ]] || return 1
  done
}

if is_there; then exit 0; fi
if may_install; then
  mkdir -p build
  say "installing dataset-fashion-mnist"
  if apt_install dataset-fashion-mnist && is_there; then exit 0; fi
  if [[ -s $log ]]; then tail -n 20 "$log" >&2; fi
fi
say "missing: Fashion-MNIST in $folder"
fail "run this, then try again:  sudo apt-get install -y dataset-fashion-mnist"
