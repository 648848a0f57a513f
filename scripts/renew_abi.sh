#!/usr/bin/env bash
# Renews, on purpose, the stored description of the shared library's binary interface that the test abi compares with.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -ne 1 ] || [ "$1" = --help ] || [ "$1" = -h ]; then
  cat <<'HELP'
Says how the library of a build folder differs from tests/abi's description, and writes the new one. What may change is said
in docs/api-stability.md: C functions that were in a release must not.

Usage: scripts/renew_abi.sh BUILD        for example build/ci, built with preset ci

Needs abidw and abidiff (Debian: abigail-tools) and xz.
HELP
  [ $# -eq 1 ] && exit 0
  exit 2
fi

library=$1/src/libe2enet.so.0
[ -e "$library" ] || { echo "renew_abi: error: expected the library $library, found none" >&2; exit 1; }
compiler=$(sed -n 's/^E2ENET_ABI_BASELINE:INTERNAL=//p' "$1/CMakeCache.txt")
[ -n "$compiler" ] || { echo "renew_abi: error: $1: expected a build whose test abi runs (docs/testing.md)" >&2; exit 1; }
baseline=tests/abi/$compiler
new=$(mktemp)
old=$(mktemp)
trap 'rm -f "$new" "$old"' EXIT
abidw --headers-dir include/e2enet --drop-private-types --no-corpus-path --no-comp-dir-path --no-show-locs \
      --no-parameter-names --no-elf-needed --out-file "$new" "$library"
if [ -e "$baseline" ]; then
  xz --decompress --stdout "$baseline" >"$old"
  abidiff "$old" "$new" && echo "no difference"
fi
xz -9 --stdout "$new" >"$baseline"
echo "$baseline"
