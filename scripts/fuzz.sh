#!/usr/bin/env bash
# Builds the fuzzers with clang and runs them over what strangers' bytes reach.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'HELP'
Builds the libFuzzer programs of tests/fuzz (clang, address and undefined-behaviour sanitizers) and runs them one after the
other. Beginnings are valid files, those in tests/data/fuzz, and what earlier runs found worth keeping (build/fuzz/corpus).

Usage: scripts/fuzz.sh [--seconds N | --runs N] [TARGET...]

  --seconds N  run each target for N seconds (60 unless told)
  --runs N     run each target over N inputs instead
  --list       print the targets, and run nothing
  --help       print this

What fails is left in build/fuzz/failed/TARGET: keep it in tests/data/fuzz/TARGET, which the ordinary tests run over.
Exit codes: 0 nothing found; 1 something was, or the build failed; 2 the call was wrong.
HELP
}

fail() {
  echo "fuzz: error: $1" >&2
  exit "${2:-1}"
}

all=(configuration model_file nifti nifti_header gzip npy c_functions dicom)
limit=(-max_total_time=60)
targets=()
while [ $# -gt 0 ]; do
  case "$1" in
    --seconds | --runs)
      [[ "${2:-}" =~ ^[1-9][0-9]*$ ]] || fail "$1: expected a positive number, found '${2:-}'" 2
      if [ "$1" = --seconds ]; then limit=("-max_total_time=$2"); else limit=("-runs=$2"); fi
      shift
      ;;
    --list) printf '%s\n' "${all[@]}"; exit 0 ;;
    --help | -h) usage; exit 0 ;;
    *)
      [[ " ${all[*]} " == *" $1 "* ]] || { usage >&2; fail "unknown option or target '$1'" 2; }
      targets+=("$1")
      ;;
  esac
  shift
done
if [ ${#targets[@]} -eq 0 ]; then targets=("${all[@]}"); fi

scripts/install_dependencies.sh build clang
build=$PWD/build/fuzz
cmake -S . -B "$build" -G Ninja -D CMAKE_BUILD_TYPE=RelWithDebInfo -D CMAKE_CXX_COMPILER=clang++ -D E2ENET_BUILD_FUZZERS=ON \
  -D E2ENET_BUILD_TESTS=OFF -D E2ENET_BUILD_BENCHMARKS=OFF -D E2ENET_BUILD_EXAMPLES=OFF \
  -D E2ENET_SANITIZE=address,undefined,fuzzer-no-link >/dev/null
cmake --build "$build" --target make_seeds "${targets[@]/#/fuzz_}"
"$build/tests/fuzz/make_seeds" "$build/seeds"

# The readers take files: in memory, where the system has such a folder.
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then export TMPDIR=/dev/shm; fi
status=0
for target in "${targets[@]}"; do
  mkdir -p "$build/corpus/$target" "$build/failed/$target"
  dictionary=()
  case "$target" in configuration | model_file) dictionary=(-dict=tests/fuzz/json.dict) ;; esac
  # Little more than the longest beginning: longer inputs only take time.
  case "$target" in npy) longest=200 ;; nifti_header) longest=600 ;; model_file) longest=9000 ;; dicom) longest=3000 ;; *) longest=800 ;; esac
  log="$build/$target.log"
  if ! "$build/tests/fuzz/fuzz_$target" "${limit[@]}" "${dictionary[@]}" -max_len="$longest" -reduce_inputs=0 -report_slow_units=30 \
    -print_final_stats=1 -rss_limit_mb=4096 -timeout=60 \
    -artifact_prefix="$build/failed/$target/" "$build/corpus/$target" "$build/seeds/$target" "tests/data/fuzz/$target" \
    >"$log" 2>&1; then
    echo "fuzz: error: $target failed ($log):" >&2
    tail -n 30 "$log" >&2
    status=1
  fi
  echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs"
done
exit $status
