#!/usr/bin/env bash
# Does the cases of one job of a plan, and goes on where an earlier try of it ended, whatever ended it.
#
#   run_job.sh WORK JOB MEMORY_MIB TRY
#
# TRY counts from 1. Cases that fail are tried twice in all; from the second try on the job is settled (WORK/settled/JOB, exit
# code 0) as soon as all of its cases are done or were given up, which their records tell. E2ENET is the program, `e2enet` in
# the path unless told.
set -euo pipefail

work=$1 job=$2 memory=$3 try=$4
settled=$work/settled/$job list=$work/plan/jobs/$job.csv summary=$work/labels/summary_$job.json
mkdir -p "$work/settled"
if [ -e "$settled" ] && [ ! "$list" -nt "$settled" ]; then exit 0; fi
mapfile -t arguments <"$work/plan/segment_arguments.txt"

child=
# The queue wants the job to end: e2enet does so in good order, after the tile it is at.
trap '[ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true' TERM INT

segment() {
  rm -f "$summary"
  "${E2ENET:-e2enet}" segment "${arguments[@]}" --cases "$list" -o "$work/labels" --record "$work/records" \
    --continue --tries 2 --memory "${memory}M" --quiet &
  child=$!
  local code=0
  wait "$child" || code=$?
  # A signal ends the waiting, not the program.
  while kill -0 "$child" 2>/dev/null; do code=0; wait "$child" || code=$?; done
  child=
  return "$code"
}

code=0
segment || code=$?
if [ "$code" -eq 1 ] && [ "$try" -ge 2 ]; then
  # Cases that failed for the first time just now, since an earlier try was killed before it came to them.
  code=0
  segment || code=$?
fi
if [ "$code" -eq 1 ] && [ "$try" -ge 2 ] && grep -q '"cases_not_done": 0' "$summary" 2>/dev/null; then code=0; fi
if [ "$code" -eq 0 ]; then : >"$settled"; fi
exit "$code"
