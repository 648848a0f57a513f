#!/usr/bin/env bash
# All tests, from a fresh clone: what continuous integration runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'HELP'
Installs what is missing (Debian packages), checks the formatting, builds with warnings as errors and runs all tests.

Usage: scripts/test.sh [--sanitizer | --thread-sanitizer | --clang]

  --sanitizer         build with address and undefined-behaviour sanitizers instead, and run the C++ tests under them
  --thread-sanitizer  build with the thread sanitizer instead, and run the C++ tests of what has threads under it
  --clang             build with clang instead of the system's compiler, and run the C++ tests
  --help              print this

Tests against vectors that hold parts of real scans need the folder named by E2ENET_SHARED (by default ../shared, where it
exists). Tests that were skipped, those or others, are counted and named at the end. PYTHON is the Python to run tests with,
Debian's unless told.
HELP
}

preset=ci
for argument in "$@"; do
  case "$argument" in
    --sanitizer) preset=sanitizer ;;
    --thread-sanitizer) preset=tsan ;;
    --clang) preset=clang ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; echo "test: error: unknown option '$argument'" >&2; exit 2 ;;
  esac
done

step() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

step "Packages"
groups=(test)
if [ "$preset" = ci ]; then groups+=(viewer); fi
if [ "$preset" = clang ]; then groups+=(clang); fi
scripts/install_dependencies.sh "${groups[@]}"
python=${PYTHON:-/usr/bin/python3}

if [ "$preset" = ci ]; then
  step "Formatting (clang-format)"
  find src include tests benchmarks examples \( -name '*.h' -o -name '*.cc' \) -print0 | sort -z |
    xargs -0 clang-format --dry-run --Werror
fi

step "Build (preset $preset)"
cmake --preset "$preset"
cmake --build --preset "$preset"

# What segmentations are looked at with; without npm these tests are skipped and say so.
if [ "$preset" = ci ] && command -v npm >/dev/null; then
  step "npm packages (dcmjs, OHIF)"
  scripts/install_viewer.sh || echo "test: dcmjs and OHIF are not to be had"
fi

# A line for each test that was skipped, written by the tests themselves.
E2ENET_SKIPPED_FILE="$PWD/build/$preset/skipped.txt"
export E2ENET_SKIPPED_FILE
: >"$E2ENET_SKIPPED_FILE"

if [ "$preset" = ci ]; then
  step "Python tests"
  E2ENET_PROGRAM="$PWD/build/$preset/bin/e2enet" "$python" tests/python/run.py
fi

step "C++ tests"
ctest --preset "$preset"

if [ "$preset" = ci ]; then
  step "Browser edition"
  E2ENET_PROGRAM="$PWD/build/$preset/bin/e2enet" scripts/test_web.sh --quick
fi

skipped=$(wc -l <"$E2ENET_SKIPPED_FILE")
step "Passed; skipped: $skipped"
cat "$E2ENET_SKIPPED_FILE"
