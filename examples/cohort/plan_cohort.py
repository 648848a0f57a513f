#!/usr/bin/env python3
"""Cuts a cohort into jobs: which cases, how much memory and how much time each.

    plan_cohort.py --images IMAGES --model MODEL.safetensors --work WORK [OPTIONS] [-- OPTIONS OF e2enet segment]

IMAGES is a folder with nnU-Net's names, a BIDS data set (it has a dataset_description.json) or a list of cases (.csv or .tsv, as
for `e2enet segment --cases`; NIfTI or DICOM). What a job needs is what `e2enet segment --dry-run --json` forecasts of its cases.

Written below WORK/plan: cases.csv (all), jobs/JOB.csv (the cases of a job), jobs.tsv (job, cases, memory in MiB, minutes) and
segment_arguments.txt (one a line). Python 3.8 or newer, nothing else. Exit codes: 0 done; 1 failed; 2 the call was wrong.
"""

import argparse
import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys

# A forecast is an upper bound of what the program takes on the machine that made it; another machine's libraries may be larger.
MEMORY_MARGIN, MEMORY_MARGIN_MIB = 1.05, 16
# Of the measured network; reading, resampling and writing come on top.
SECONDS_MARGIN, SECONDS_A_CASE = 1.3, 0.05
# Of a job's expected time, before the queue may end it: nodes differ, and file systems have bad days.
TIME_LIMIT_FACTOR, TIME_LIMIT_MINUTES = 4, 5


class Refused(Exception):
    """One line for the user."""


def bids_cases(folder, suffix, participants=None):
    """Every sub-*/[ses-*/]anat/*_SUFFIX.nii[.gz]; the name of a case is where BIDS wants its labels."""
    cases = []
    for subject in sorted(os.listdir(folder)):
        if not subject.startswith("sub-") or (participants and subject[4:] not in participants):
            continue
        below = os.path.join(folder, subject)
        sessions = sorted(name for name in os.listdir(below) if name.startswith("ses-")) if os.path.isdir(below) else []
        for part in [subject] + [f"{subject}/{session}" for session in sessions]:
            anatomy = os.path.join(folder, part, "anat")
            for name in sorted(os.listdir(anatomy)) if os.path.isdir(anatomy) else []:
                match = re.fullmatch(rf"(sub-.+)_{re.escape(suffix)}\.nii(\.gz)?", name)
                if match:
                    cases.append((f"{part}/anat/{match[1]}_space-orig_dseg", [os.path.join(anatomy, name)], ""))
    return cases


def listed_cases(path):
    with open(path, newline="", encoding="utf-8-sig") as file:
        head = file.readline()
        file.seek(0)
        rows = list(csv.DictReader(file, delimiter="\t" if "\t" in head else ","))
    folder = os.path.dirname(os.path.abspath(path))
    cases = []
    for row in rows:
        images = [os.path.join(folder, value) for key, value in row.items() if key and key.startswith("image")]
        cases.append((row.get("case", ""), images, row.get("series") or ""))
    return cases


def write_list(path, cases):
    """As `e2enet segment --cases` reads it; appears whole or not at all."""
    channels = max(len(images) for _, images, _ in cases)
    with open(path + ".new", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["case"] + ["image" if i == 0 else f"image{i + 1}" for i in range(channels)] + ["series"])
        for name, images, series in cases:
            writer.writerow([name] + images + [""] * (channels - len(images)) + [series])
    os.replace(path + ".new", path)


def run_program(arguments):
    try:
        return subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    except OSError as error:
        raise Refused(f"{arguments[0]}: cannot be run: {error.strerror}") from error


def forecasts(options, images):
    """What the program says of each case: its name, its images, and its memory and seconds, or why it cannot be done."""
    call = [options.program, "segment", "-m", options.model] + images + ["-o", os.path.join(options.work, "labels")]
    call += ["--threads", str(options.threads), "--dry-run", "--json", "--quiet"] + options.segment
    if options.memory:
        call += ["--memory", f"{options.memory}M"]
    result = run_program(call)
    try:
        return json.loads(result.stdout)["cases"]
    except ValueError:
        said = result.stderr.strip().splitlines()
        raise Refused(said[-1] if said else f"{call[0]}: no forecast") from None


def find_cases(options, path):
    """All cases as (name, images, series), written to `path`, and by name what the program says of them."""
    images = options.images
    if not os.path.exists(images):
        raise Refused(f"{images}: expected a folder of images, a BIDS data set or a list of cases, found nothing")
    bids = os.path.isfile(os.path.join(images, "dataset_description.json"))
    if os.path.isdir(images) and not bids:  # which files are a case is the program's to know
        said = forecasts(options, ["-i", os.path.abspath(images)])
        cases = [(one["case"], one["images"], "") for one in said]
        write_list(path, cases)
    else:
        cases = bids_cases(os.path.abspath(images), options.suffix) if bids else listed_cases(images)
        if not cases:
            raise Refused(f"{images}: expected images ({'*_' + options.suffix + '.nii.gz' if bids else 'a line a case'}), found none")
        write_list(path, cases)
        said = forecasts(options, ["--cases", path])
    return cases, {one["case"]: one for one in said}


def memory_class(mib):
    """Rounded up to one of four steps a doubling, so that jobs of about one size are asked for together."""
    return math.ceil(2 ** (math.ceil(4 * math.log2(mib)) / 4))


def cut(cases, known, options):
    """Jobs of about the same memory each, as long as a job should take."""
    found = [(one["peak_bytes"], one["seconds_network"]) for one in known.values() if "peak_bytes" in one]
    if not found:
        raise Refused("expected at least one case that can be opened, found none; `e2enet segment` says why")
    usual = sorted(found)[len(found) // 2]
    weighed = []
    for case in cases:
        forecast = known.get(case[0], {})  # none of a case that cannot be opened; it fails in its job, with a record
        peak, seconds = forecast.get("peak_bytes", usual[0]), forecast.get("seconds_network", 0)
        mib = memory_class(peak / 2**20 * MEMORY_MARGIN + MEMORY_MARGIN_MIB)
        weighed.append((min(mib, options.memory) if options.memory else mib, case, seconds * SECONDS_MARGIN + SECONDS_A_CASE))
    weighed.sort(key=lambda one: (one[0], one[1][0]))
    target = min(60 * options.job_minutes, sum(one[2] for one in weighed) / max(1, options.least_jobs))
    jobs = []
    for mib, case, seconds in weighed:
        if not jobs or jobs[-1]["mib"] != mib or jobs[-1]["seconds"] >= target:
            jobs.append({"mib": mib, "seconds": 0.0, "cases": []})
        jobs[-1]["cases"].append(case)
        jobs[-1]["seconds"] += seconds
    return jobs


def write_plan(options, jobs):
    plan = os.path.join(options.work, "plan")
    shutil.rmtree(os.path.join(plan, "jobs"), ignore_errors=True)
    os.makedirs(os.path.join(plan, "jobs"))
    digits = max(4, len(str(len(jobs))))
    lines = ["job\tcases\tmemory_mib\tminutes"]
    for number, job in enumerate(jobs, 1):
        name = str(number).zfill(digits)
        write_list(os.path.join(plan, "jobs", name + ".csv"), job["cases"])
        minutes = math.ceil(TIME_LIMIT_FACTOR * job["seconds"] / 60) + TIME_LIMIT_MINUTES
        lines.append(f"{name}\t{len(job['cases'])}\t{job['mib']}\t{minutes}")
    arguments = ["-m", os.path.abspath(options.model), "--threads", str(options.threads)] + options.segment
    with open(os.path.join(plan, "segment_arguments.txt"), "w", encoding="utf-8") as file:
        file.write("".join(argument + "\n" for argument in arguments))
    # Last, since who finds it takes the plan for whole.
    with open(os.path.join(plan, "jobs.tsv.new"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    os.replace(os.path.join(plan, "jobs.tsv.new"), os.path.join(plan, "jobs.tsv"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder with nnU-Net's names, BIDS data set, or list of cases")
    parser.add_argument("--model", required=True, help="model file (.safetensors)")
    parser.add_argument("--work", required=True, help="folder for plan, labels, records and table")
    parser.add_argument("--program", default=os.environ.get("E2ENET", "e2enet"), help="e2enet (default: $E2ENET, or e2enet)")
    parser.add_argument("--threads", type=int, default=1, help="threads a job (default 1: the most cases an hour)")
    parser.add_argument("--memory", type=int, help="MiB that a job may have at most: a slower plan is taken where none fits")
    parser.add_argument("--job-minutes", type=float, default=10, help="how long a job should take (default 10)")
    parser.add_argument("--least-jobs", type=int, default=1, help="shorter jobs rather than fewer than this (default 1)")
    parser.add_argument("--suffix", default="T1w", help="BIDS: which images (default T1w)")
    parser.add_argument("segment", nargs="*", help="after --: further options of e2enet segment, such as --tta")
    options = parser.parse_args()
    try:
        os.makedirs(os.path.join(options.work, "plan"), exist_ok=True)
        cases, known = find_cases(options, os.path.join(options.work, "plan", "cases.csv"))
        jobs = cut(cases, known, options)
        write_plan(options, jobs)
    except Refused as error:
        print(f"plan_cohort: error: {error}", file=sys.stderr)
        return 1
    print(f"{len(cases)} cases in {len(jobs)} jobs, {jobs[0]['mib']} to {jobs[-1]['mib']} MiB each")
    return 0


if __name__ == "__main__":
    sys.exit(main())
