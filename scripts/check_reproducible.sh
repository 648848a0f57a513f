#!/usr/bin/env bash
# Builds the last commit twice, in folders of different names, and compares the program and the library.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  cat <<'HELP'
Builds the last commit in two temporary folders, without a compiler's cache, and compares the SHA-256 of the program and of
the library. Takes two whole builds.

Usage: scripts/check_reproducible.sh [OPTION OF CMAKE...]

Exit codes: 0 the same; 1 not the same, or a build failed.
HELP
  exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for folder in "$work/one" "$work/another/of a longer name"; do
  mkdir -p "$folder"
  git archive HEAD | tar --extract --directory "$folder"
  echo "== $folder"
  CCACHE_DISABLE=1 cmake -S "$folder" -B "$folder/build" -DCMAKE_BUILD_TYPE=Release -DE2ENET_BUILD_TESTS=OFF \
    -DE2ENET_BUILD_BENCHMARKS=OFF -DE2ENET_BUILD_EXAMPLES=OFF "$@" >/dev/null
  CCACHE_DISABLE=1 cmake --build "$folder/build" --target e2enet e2enet_library --parallel 2 >/dev/null
  (cd "$folder/build" && sha256sum bin/e2enet src/libe2enet.so.0) | tee -a "$work/sums"
done
if [ "$(sort -u "$work/sums" | wc -l)" -ne 2 ]; then
  echo "check_reproducible: error: expected the same program and library from both folders, found others" >&2
  exit 1
fi
echo "the same program and library from both folders"
