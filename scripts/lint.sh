#!/usr/bin/env bash
# clang-tidy with the checks of .clang-tidy, over src/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'HELP'
Runs clang-tidy (Debian: clang-tidy) over src/, with the checks that .clang-tidy names. Each finding is an error.

Usage: scripts/lint.sh [--build BUILD] [FILE...]

  --build BUILD  a configured build folder, which says how files are compiled (build/ci unless told)
  FILE           sources of src/ to look at; all of them unless told, about four seconds of a core each

A file that was found clean is not looked at again until it, a header, .clang-tidy or BUILD's configuration changes
(BUILD/lint). Exit codes: 0 nothing found; 1 something was; 2 the call was wrong.
HELP
}

build=build/ci
files=()
while [ $# -gt 0 ]; do
  case "$1" in
    --help | -h) usage; exit 0 ;;
    --build) build=${2:?--build: expected a folder}; shift ;;
    *.cc) files+=("$1") ;;
    *) usage >&2; echo "lint: error: unknown argument '$1'" >&2; exit 2 ;;
  esac
  shift
done
if [ ! -e "$build/compile_commands.json" ]; then
  echo "lint: error: $build/compile_commands.json: expected it, found none (cmake --preset ci)" >&2
  exit 2
fi
if [ ${#files[@]} -eq 0 ]; then
  mapfile -t files < <(find src -name '*.cc' | sort)
fi
mkdir -p "$build/lint"
common=$(find src include .clang-tidy "$build/compile_commands.json" -type f ! -name '*.cc' -print0 | sort -z |
  xargs -0 sha256sum | sha256sum)

look_at() {
  local build=$1 common=$2 file=$3
  # Of an option that this build does not have, nothing is known.
  grep -q "/$file\"" "$build/compile_commands.json" || return 0
  local stamp=$build/lint/${file//\//.} state
  state="$common $(sha256sum "$file")"
  [ "$(cat "$stamp" 2>/dev/null)" = "$state" ] && return 0
  rm -f "$stamp"
  # What it says besides findings is how many warnings it does not show.
  clang-tidy -p "$build" --quiet "$file" 2>"$stamp.errors" || { cat "$stamp.errors" >&2; return 1; }
  echo "$state" >"$stamp"
}
export -f look_at

printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'look_at "$@"' lint "$build" "$common" ||
  { echo "lint: error: findings above" >&2; exit 1; }
