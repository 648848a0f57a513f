#!/usr/bin/env bash
# Builds the program alone, from a fresh clone, with the fewest packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -gt 0 ]; then
  cat <<'HELP'
Installs the Debian packages that building needs and builds build/release/bin/e2enet.

Usage: scripts/build.sh
HELP
  if [ "$1" = --help ] || [ "$1" = -h ]; then exit 0; fi
  echo "build: error: expected no arguments, found '$1'" >&2
  exit 2
fi

scripts/install_dependencies.sh build
# Tests, benchmarks and examples want more packages. A build folder that somebody has set up with them stays as it is.
if [ ! -e build/release/build.ninja ]; then
  cmake --preset release -DE2ENET_BUILD_TESTS=OFF -DE2ENET_BUILD_BENCHMARKS=OFF -DE2ENET_BUILD_EXAMPLES=OFF
fi
cmake --build --preset release --target e2enet
