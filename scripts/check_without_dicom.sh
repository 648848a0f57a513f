#!/usr/bin/env bash
# A build without DICOM: that it builds, says what it lacks, and that its tests pass.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -gt 0 ]; then
  cat <<'HELP'
Builds with E2ENET_WITH_DICOM=OFF in a folder of its own, build/without_dicom, and runs the C++ tests there. Takes as long as any
build from nothing; with ccache in CMAKE_CXX_COMPILER_LAUNCHER, most of what preset ci has built is found again.

Usage: scripts/check_without_dicom.sh
HELP
  if [ "$1" = --help ] || [ "$1" = -h ]; then exit 0; fi
  echo "check_without_dicom: error: expected no arguments, found '$1'" >&2
  exit 2
fi

scripts/install_dependencies.sh test
build=build/without_dicom
cmake -S . -B "$build" -G Ninja -D CMAKE_BUILD_TYPE=Release -D E2ENET_WARNINGS_AS_ERRORS=ON -D E2ENET_WITH_DICOM=OFF \
  -D E2ENET_BUILD_BENCHMARKS=OFF >/dev/null
cmake --build "$build"
if ldd "$build/bin/e2enet" | grep -E 'dcmdata|openjp2'; then
  echo "check_without_dicom: error: expected no library of DICOM, found these" >&2
  exit 1
fi
ctest --test-dir "$build" --output-on-failure
