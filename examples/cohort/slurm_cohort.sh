#!/usr/bin/env bash
# A cohort on Slurm with nothing but sbatch, bash and Python.
set -euo pipefail

usage() {
  cat <<'HELP'
Does a cohort on Slurm, as job arrays, and makes one table of it.

Usage: slurm_cohort.sh --images IMAGES --model MODEL --work WORK [OPTIONS OF plan_cohort.py] [-- OPTIONS OF e2enet segment]

IMAGES is a folder with nnU-Net's names, a BIDS data set, or a list of cases (.csv). The program is E2ENET, `e2enet` in the path
unless told; what else your site wants of sbatch goes into SBATCH_PARTITION, SBATCH_ACCOUNT and so on. WORK, the images and the
program must be where all nodes see them.

Submits an array for each size of memory, waits for them, submits what is not settled again with more memory, twice at
most, and collects. Call it again after whatever happened: it goes on, and does nothing twice. After more images have come,
call it with --plan-anew. Exit codes: 0 all cases done; 1 some failed (WORK/cohort.tsv says which) or it could not be done; 2 the
call was wrong.
HELP
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work= anew=no plan=() poll=${E2ENET_POLL_SECONDS:-5}
threads=1
while [ $# -gt 0 ]; do
  case "$1" in
    --help | -h) usage; exit 0 ;;
    --plan-anew) anew=yes; shift ;;
    --work) work=${2:?--work: expected a folder}; shift 2 ;;
    --threads) threads=${2:?--threads: expected a number}; shift 2 ;;
    --) break ;;
    *) plan+=("$1"); shift ;;
  esac
done
[ -n "$work" ] || { usage >&2; echo "slurm_cohort: error: missing --work" >&2; exit 2; }
mkdir -p "$work/logs"
work=$(cd "$work" && pwd)
E2ENET=${E2ENET:-e2enet}
E2ENET=$(command -v "$E2ENET") || { echo "slurm_cohort: error: E2ENET: expected the program, found nothing that runs" >&2; exit 1; }
export E2ENET

if [ ! -e "$work/plan/jobs.tsv" ] || [ "$anew" = yes ]; then
  "$here/plan_cohort.py" --program "$E2ENET" --work "$work" --threads "$threads" "${plan[@]}" "$@"
fi

is_settled() { [ -e "$work/settled/$1" ] && [ ! "$work/plan/jobs/$1.csv" -nt "$work/settled/$1" ]; }

# Indexes of one array must be below this.
limit=$(scontrol show config | sed -n 's/^MaxArraySize *= *//p')
limit=${limit:-1001}

# One array of jobs that are alike: LIST MEMORY MINUTES TRY. The list says which job an index is.
submit() {
  local list=$1 memory=$2 minutes=$3 try=$4 count
  count=$(wc -l <"$list")
  sbatch --parsable --job-name=e2enet --array="0-$((count - 1))" --cpus-per-task="$threads" --mem="$((memory + 16))" --time="$minutes" \
    --output="$work/logs/%A_%a.log" --export=ALL --wrap "\"$here/run_job.sh\" \"$work\" \"\$(sed -n \"\$((SLURM_ARRAY_TASK_ID + 1))p\" \"$list\")\" $memory $try"
}

for try in 1 2 3; do
  rm -f "$work"/plan/array_*
  # Jobs that are not settled, by memory and time, no more in a list than an array may have.
  while IFS=$'\t' read -r job _ memory minutes; do
    [ "$job" != job ] || continue
    is_settled "$job" || printf '%s\t%s\t%s\n' "$memory" "$minutes" "$job"
  done <"$work/plan/jobs.tsv" >"$work/plan/open.tsv"
  [ -s "$work/plan/open.tsv" ] || break
  ids=
  while read -r memory; do
    minutes=$(awk -F'\t' -v memory="$memory" '$1 == memory && $2 > most {most = $2} END {print most}' "$work/plan/open.tsv")
    awk -F'\t' -v memory="$memory" '$1 == memory {print $3}' "$work/plan/open.tsv" |
      split --lines="$((limit - 1))" --suffix-length=5 - "$work/plan/array_${try}_${memory}_"
    for list in "$work/plan/array_${try}_${memory}_"*; do
      ids+=${ids:+,}$(submit "$list" "$((memory * try))" "$((minutes * try))" "$try")
    done
  done < <(cut -f1 "$work/plan/open.tsv" | sort -nu)
  echo "try $try: $(wc -l <"$work/plan/open.tsv") jobs, Slurm's $ids"
  while :; do
    sleep "$poll"
    if said=$(squeue --noheader --jobs="$ids" --format=%i 2>&1); then
      [ -n "$said" ] || break
    elif grep -q 'Invalid job id' <<<"$said"; then
      break  # ended some minutes ago
    fi
  done
done
rm -f "$work"/plan/array_* "$work/plan/open.tsv"
"$E2ENET" collect "$work/records" --cases "$work/plan/cases.csv" -o "$work/cohort.tsv"
