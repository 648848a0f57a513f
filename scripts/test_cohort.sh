#!/usr/bin/env bash
# Cohorts on a real Slurm and with Snakemake, from a clean clone: installs, builds, runs, and says what it measured.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'HELP'
Runs cohorts of 200 cases, four of them broken, through a Slurm of two nodes that it starts on this machine: as job arrays and with
Snakemake, in peace and with a job killed, one ended by its memory limit and slurmd restarted; measures what the engines cost; and
takes a BIDS data set through the BIDS-App, the validator and a browser.

Usage: scripts/test_cohort.sh [--quick] [PATTERN...]

  --quick   the half that scripts/test.sh runs too: a few cases through a job array, planning, the BIDS-App
  PATTERN   only tests whose name has it: faults, 200_cases, cost, Bids
  --help    print this

Takes some 30 minutes on two cores that do nothing else. Needs root, since slurmd does; a Slurm that the system runs is left alone.
E2ENET_PROGRAM is the program, built with preset release unless told; E2ENET_SHARED a folder with data/hippocampus, phantoms do where
it is not there; E2ENET_COHORT_RESULTS a folder for the figures and the page's picture (build/cohort unless told). PYTHON is
Debian's Python unless told.
HELP
}

full=full patterns=()
for argument in "$@"; do
  case "$argument" in
    --quick) full= ;;
    --help | -h) usage; exit 0 ;;
    -*) usage >&2; echo "test_cohort: error: unknown option '$argument'" >&2; exit 2 ;;
    *) patterns+=(-k "$argument") ;;
  esac
done

scripts/install_dependencies.sh build cohort
if [ -n "$full" ] && ! command -v bids-validator >/dev/null; then
  if [ ! -x build/npm-bids/node_modules/.bin/bids-validator ] && command -v npm >/dev/null; then
    npm install --ignore-scripts --no-audit --no-fund --prefix build/npm-bids bids-validator@1.15.0 ||
      echo "test_cohort: bids-validator is not to be had"
  fi
  PATH="$PWD/build/npm-bids/node_modules/.bin:$PATH"
fi
if [ -z "${E2ENET_PROGRAM:-}" ]; then
  cmake --preset release
  cmake --build --preset release --target e2enet
  E2ENET_PROGRAM=$PWD/build/release/bin/e2enet
fi
export E2ENET_PROGRAM E2ENET_COHORT=$full E2ENET_COHORT_RESULTS=${E2ENET_COHORT_RESULTS:-$PWD/build/cohort} PATH
PYTHONPATH=tests/python PYTHONDONTWRITEBYTECODE=1 exec "${PYTHON:-/usr/bin/python3}" -m unittest -v test_cohort "${patterns[@]}"
