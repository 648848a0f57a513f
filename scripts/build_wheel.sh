#!/usr/bin/env bash
# Builds the wheel of the Python package, with the library and the program inside.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -gt 0 ]; then
  cat <<'HELP'
Installs the Debian packages that building needs and makes dist/e2enet-VERSION-py3-none-PLATFORM.whl. Nothing else is
downloaded.

Usage: scripts/build_wheel.sh

PYTHON is the Python to build with (python3); any 3.9 or newer can install the wheel.
HELP
  if [ "$1" = --help ] || [ "$1" = -h ]; then exit 0; fi
  echo "build_wheel: error: expected no arguments, found '$1'" >&2
  exit 2
fi

scripts/install_dependencies.sh build
"${PYTHON:-python3}" python/build_wheel.py dist
