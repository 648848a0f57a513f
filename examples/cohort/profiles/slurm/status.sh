#!/usr/bin/env bash
# What became of a job of Slurm, in Snakemake's words. The controller knows jobs for some minutes after their end (MinJobAge), the
# accounting for good, where a site has one. Neither answers: the job is taken to go on, and is asked for again.
job=$1
said=$(scontrol --oneliner show job "$job" 2>&1)
state=$(sed -n 's/.* JobState=\([A-Z_]*\).*/\1/p' <<<"$said")
if [ -z "$state" ]; then
  state=$(sacct --noheader --allocations --parsable2 --format=State --jobs="$job" 2>/dev/null | sed -n '1s/[ |].*//p')
fi
if [ -z "$state" ] && grep -q 'Invalid job id' <<<"$said"; then state=UNKNOWN; fi
case "$state" in
  COMPLETED) echo success ;;
  "" | PENDING | CONFIGURING | RUNNING | COMPLETING | SUSPENDED | REQUEUED | REQUEUE_HOLD | RESIZING | SIGNALING | STAGE_OUT | STOPPED)
    echo running ;;
  *) echo failed ;;
esac
