#!/usr/bin/env bash
# All tests, from a fresh clone: what continuous integration runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'HELP'
Installs what is missing (Debian packages), checks the formatting, builds with warnings as errors and runs all tests.

Usage: scripts/test.sh [--sanitizer]

  --sanitizer  build with address and undefined-behaviour sanitizers instead, and run the C++ tests under them
  --help       print this

Tests against the golden vectors need the folder named by E2ENET_SHARED (by default ../shared, where it exists); without it
they say that they are skipped. PYTHON is the Python to run tests with, Debian's unless told.
HELP
}

preset=ci
for argument in "$@"; do
  case "$argument" in
    --sanitizer) preset=sanitizer ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; echo "test: error: unknown option '$argument'" >&2; exit 2 ;;
  esac
done

step() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

step "Packages"
scripts/install_dependencies.sh test
python=${PYTHON:-/usr/bin/python3}

if [ "$preset" = ci ]; then
  step "Formatting (clang-format)"
  find src include tests benchmarks examples \( -name '*.h' -o -name '*.cc' \) -print0 | sort -z |
    xargs -0 clang-format --dry-run --Werror
fi

step "Build (preset $preset)"
cmake --preset "$preset"
cmake --build --preset "$preset"

if [ "$preset" = ci ]; then
  step "Python tests"
  E2ENET_PROGRAM="$PWD/build/$preset/bin/e2enet" "$python" -m unittest discover --start-directory tests/python
fi

step "C++ tests"
ctest --preset "$preset"
