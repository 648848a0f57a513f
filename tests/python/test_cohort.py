"""examples/cohort and examples/bids: cohorts through a real Slurm, as job arrays and with Snakemake, and the BIDS-App.

The quick half always runs. scripts/test_cohort.sh sets E2ENET_COHORT=full for the rest: 200 cases through both engines, once in
peace and once with a job killed, one out of memory and slurmd restarted; what the engines cost; the BIDS validator.
"""

import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import numpy as np

import slurm_cluster
import support
import test_pacs

PROGRAM = os.path.abspath(os.environ.get("E2ENET_PROGRAM", os.path.join(support.ROOT, "build", "release", "bin", "e2enet")))
COHORT = os.path.join(support.ROOT, "examples", "cohort")
BIDS = os.path.join(support.ROOT, "examples", "bids", "e2enet_bids")
SMALL_MODEL = os.path.join(support.ROOT, "models", "hippocampus_small_density20.safetensors")
LARGE_MODEL = os.path.join(support.ROOT, "models", "hippocampus_density20.safetensors")
CROPS = os.path.join(support.SHARED, "data", "hippocampus")
FULL = os.environ.get("E2ENET_COHORT") == "full"
NEEDS_FULL = "the long half: scripts/test_cohort.sh"
# Where the page's picture and the measured figures go, if wanted.
RESULTS = os.environ.get("E2ENET_COHORT_RESULTS")
NO_CLUSTER = slurm_cluster.missing()
SNAKEMAKE = shutil.which("snakemake")
CHROMIUM = shutil.which("chromium")


def write_nifti(path, voxels, infinite=False):
    """float32, 1 mm, RAS; arrays are (k, j, i)."""
    values = voxels.astype("<f4")
    if infinite:
        values[0, 0, 0] = np.inf
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *values.shape[::-1], 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 16, 32)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 0, 0, 0, 0)
    struct.pack_into("<f", header, 108, 352)
    header[123] = 2
    struct.pack_into("<hh", header, 252, 0, 1)
    for row in range(3):
        struct.pack_into("<4f", header, 280 + 16 * row, *[float(column == row) for column in range(4)])
    header[344:348] = b"n+1\0"
    with gzip.GzipFile(path, "wb", compresslevel=1, mtime=0) as file:
        file.write(bytes(header) + values.tobytes())


def phantom(seed, shape=(36, 48, 34)):
    """An ellipsoid in noise, of a size of its own."""
    random = np.random.default_rng(seed)
    k, j, i = np.meshgrid(*[np.linspace(-1, 1, extent) for extent in shape], indexing="ij")
    radii = 0.4 + 0.2 * random.random(3)
    inside = (k / radii[0]) ** 2 + (j / radii[1]) ** 2 + (i / radii[2]) ** 2 < 1
    return (300 + 200 * inside + 30 * random.standard_normal(inside.shape)).clip(1, None)


def crops():
    """Images of real heads where the shared folder is: crops of the hippocampus."""
    found = []
    for part in ("test", "train"):
        folder = os.path.join(CROPS, part, "images")
        if os.path.isdir(folder):
            found += sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".nii.gz"))
    return found


def make_image(path, number):
    images = crops()
    if images:
        shutil.copy(images[number % len(images)], path)
    else:
        write_nifti(path, phantom(number))


# Four cases that fail, each in a way of its own, by the word that their errors must have.
BROKEN = {7: "cut short", 19: "sizeof_hdr", 23: "No such file", 31: "infinite"}


def make_cohort(folder, count, broken):
    """An image folder and its list."""
    os.makedirs(os.path.join(folder, "images"))
    rows = ["case,image"]
    for number in range(count):
        name = f"case_{number:03d}"
        path = os.path.join(folder, "images", name + ".nii.gz")
        make_image(path, number)
        if number in broken and broken[number] == "cut short":
            with open(path, "r+b") as file:
                file.truncate(os.path.getsize(path) // 2)
        elif number in broken and broken[number] == "sizeof_hdr":
            with open(path, "wb") as file:
                file.write(b"This is no image.\n")
        elif number in broken and broken[number] == "No such file":
            os.remove(path)
        elif number in broken:
            write_nifti(path, phantom(number), infinite=True)
        rows.append(f"{name},images/{name}.nii.gz")
    path = os.path.join(folder, "cases.csv")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(rows) + "\n")
    return path


def hashes(folder):
    found = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".nii.gz"):
            with open(os.path.join(folder, name), "rb") as file:
                found[name] = hashlib.sha256(file.read()).hexdigest()
    return found


def all_files(folder):
    return [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def run(call, environment=None, timeout=1800, cwd=None):
    return subprocess.run(call, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                          timeout=timeout, cwd=cwd, stdin=subprocess.DEVNULL)


def figures(name, values):
    """Measured: on the terminal, and for whoever asked for a file of it."""
    print(f"cohort: {name}: {json.dumps(values)}", file=sys.stderr)
    if RESULTS:
        os.makedirs(RESULTS, exist_ok=True)
        with open(os.path.join(RESULTS, "figures.jsonl"), "a", encoding="utf-8") as file:
            file.write(json.dumps({"what": name, **values}) + "\n")


class Engines:
    """What a cohort goes through, by name: a call that ends when the cohort is done."""

    @staticmethod
    def array(cluster, cases, work, model, job_minutes, program=PROGRAM, segment=()):
        environment = dict(cluster.environment, E2ENET=program, E2ENET_POLL_SECONDS="1")
        call = [os.path.join(COHORT, "slurm_cohort.sh"), "--images", cases, "--model", model, "--work", work,
                "--job-minutes", str(job_minutes), "--least-jobs", "4", "--", *segment]
        return run(call, environment)

    @staticmethod
    def snakemake(cluster, cases, work, model, job_minutes, program=PROGRAM, segment=()):
        call = [SNAKEMAKE, "--snakefile", os.path.join(COHORT, "Snakefile"), "--profile", os.path.join(COHORT, "profiles", "slurm"),
                "--directory", os.path.dirname(work), "--config", f"images={cases}",
                f"model={model}", f"work={work}", f"program={program}", f"job_minutes={job_minutes}", "least_jobs=4",
                f"segment={' '.join(segment)}"]
        return run(call, cluster.environment)


class CohortCase(unittest.TestCase):
    """What every cohort must show, however it was done."""

    def check(self, result, work, expected, broken, count):
        self.assertEqual(result.returncode, 1, result.stdout[-4000:])
        self.assertEqual(hashes(os.path.join(work, "labels")), expected)
        self.assertEqual(len(expected), count - len(broken))
        table = read_json(os.path.join(work, "cohort.json"))
        self.assertEqual((table["cases"], table["cases_done"], table["cases_failed"]), (count, len(expected), len(broken)))
        self.assertEqual(len(table["models"]), 1)
        errors = {row["case"]: row["error"] for row in table["table"] if row["status"] != "done"}
        self.assertEqual(sorted(errors), sorted(f"case_{number:03d}" for number in broken))
        for number, word in broken.items():
            self.assertIn(word, errors[f"case_{number:03d}"])
            self.assertIn(f"case_{number:03d}", result.stdout)
        with open(os.path.join(work, "cohort.tsv"), encoding="utf-8") as file:
            self.assertEqual(len(file.read().splitlines()), count + 1)
        left = [path for path in all_files(work) if path.endswith((".partial", ".new"))]
        self.assertEqual(left, [])
        for row in table["table"]:
            self.assertLessEqual(row["tries"], 2)

    def check_nothing_is_run(self, again, work, before):
        self.assertEqual(again.returncode, 1, again.stdout[-4000:])
        self.assertEqual(self.stamps(work), before)

    @staticmethod
    def stamps(work):
        """Labels and records with the time of each: what would change if a case were touched."""
        return {path: os.stat(path).st_mtime_ns for part in ("labels", "records", "settled")
                for path in all_files(os.path.join(work, part))}

    @staticmethod
    def one_process(cases, work, model, segment=(), threads=2):
        start = time.monotonic()
        result = run([PROGRAM, "segment", "-m", model, "--cases", cases, "-o", os.path.join(work, "labels"), "--record",
                      os.path.join(work, "records"), "--threads", str(threads), "--quiet", *segment])
        return result, time.monotonic() - start


@unittest.skipUnless(os.path.exists(PROGRAM), "needs the program: set E2ENET_PROGRAM to build/PRESET/bin/e2enet")
class Planning(unittest.TestCase):
    def plan(self, folder, *more):
        result = run([os.path.join(COHORT, "plan_cohort.py"), "--program", PROGRAM, "--model", SMALL_MODEL, "--work",
                      os.path.join(folder, "work"), *more])
        rows = []
        path = os.path.join(folder, "work", "plan", "jobs.tsv")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                rows = [line.split("\t") for line in file.read().splitlines()[1:]]
        return result, rows

    def test_folder_bids_and_list_become_jobs_with_every_case_once(self):
        with tempfile.TemporaryDirectory() as folder:
            cases = make_cohort(folder, 6, {1: "sizeof_hdr"})
            for images in (os.path.join(folder, "images"), cases):
                result, rows = self.plan(folder, "--images", images, "--least-jobs", "3")
                self.assertEqual(result.returncode, 0, result.stdout)
                self.assertGreaterEqual(len(rows), 2)
                self.assertEqual(sum(int(row[1]) for row in rows), 6)
                for row in rows:  # what a job asks for is what its cases were forecast to need, and a little more
                    self.assertTrue(20 < int(row[2]) < 200, row)
                    self.assertGreater(int(row[3]), 0)
            result, _ = self.plan(folder, "--images", os.path.join(folder, "nowhere"))
            self.assertEqual(result.returncode, 1)
            self.assertIn("nowhere: expected", result.stdout)
            result, _ = self.plan(folder, "--images", cases, "--model", os.path.join(folder, "cases.csv"))
            self.assertEqual(result.returncode, 1)
            self.assertIn("cases.csv", result.stdout)

    def test_a_case_without_all_channels_fails_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            config = os.path.join(folder, "config.json")
            model = os.path.join(folder, "two.safetensors")
            with open(config, "w", encoding="utf-8") as file:
                json.dump({"input_channels": 2, "classes": 2, "base_features": 4, "patch_size": [8, 16, 16],
                           "pool_strides": [[1, 2, 2], [2, 2, 2]], "density": 0.5}, file)
            self.assertEqual(run([PROGRAM, "random", "-o", model, "--config", config]).returncode, 0)
            images = os.path.join(folder, "images")
            os.makedirs(images)
            for name in ("a_0000", "a_0001", "b_0000"):
                write_nifti(os.path.join(images, name + ".nii.gz"), phantom(1)[:9, :17, :18])
            work = os.path.join(folder, "work")
            result = run([os.path.join(COHORT, "plan_cohort.py"), "--program", PROGRAM, "--model", model, "--work", work, "--images", images])
            self.assertEqual(result.returncode, 0, result.stdout)
            environment = dict(os.environ, E2ENET=PROGRAM)
            job = [os.path.join(COHORT, "run_job.sh"), work]
            with open(os.path.join(work, "plan", "jobs.tsv"), encoding="utf-8") as file:
                jobs = [line.split("\t") for line in file.read().splitlines()[1:]]
            for name, _, memory, _ in jobs:
                run(job + [name, memory, "1"], environment)
                self.assertEqual(run(job + [name, memory, "2"], environment).returncode, 0)
            self.assertEqual(list(hashes(os.path.join(work, "labels"))), ["a.nii.gz"])
            record = read_json(os.path.join(work, "records", "b_record.json"))
            self.assertIn("expected the model's 2 channels", record["error"])
            self.assertEqual(record["tries"], 2)


@unittest.skipUnless(os.path.exists(PROGRAM), "needs the program: set E2ENET_PROGRAM to build/PRESET/bin/e2enet")
@unittest.skipIf(test_pacs.pydicom is None, "no pydicom")
class DicomInLists(unittest.TestCase):
    def test_nifti_and_dicom_cases_are_mixed_and_a_series_is_hashed_as_sha256sum_does(self):
        if not test_pacs.has_dicom():
            self.skipTest("a build without DICOM")
        with tempfile.TemporaryDirectory() as folder:
            scan = os.path.join(folder, "scan")
            test_pacs.write_series(scan, "1.2.3.4", "1.2.3")
            write_nifti(os.path.join(folder, "head.nii.gz"), phantom(1))
            with open(os.path.join(folder, "cases.csv"), "w", encoding="utf-8") as file:
                file.write("case,image,series\nhead,head.nii.gz,\nscan,scan,1.2.3.4\nwrong,scan,9.9\nnifti,head.nii.gz,1.2.3.4\n")
            result = run([PROGRAM, "segment", "-m", SMALL_MODEL, "--cases", os.path.join(folder, "cases.csv"), "-o",
                          os.path.join(folder, "labels"), "--record", os.path.join(folder, "records"), "--quiet"])
            self.assertEqual(result.returncode, 1, result.stdout)
            self.assertEqual(sorted(hashes(os.path.join(folder, "labels"))), ["head.nii.gz", "scan.nii.gz"])
            self.assertIn("case wrong: ", result.stdout)
            self.assertIn("case nifti: series: expected a DICOM series", result.stdout)
            digest = read_json(os.path.join(folder, "records", "scan_record.json"))["inputs"][0]
            listed = run(["bash", "-c", "LC_ALL=C; sha256sum * | sha256sum"], cwd=scan).stdout.split()[0]
            self.assertEqual((digest["sha256"], digest["files"]), (listed, 12))


@unittest.skipIf(NO_CLUSTER, f"no Slurm: {NO_CLUSTER}")
@unittest.skipUnless(os.path.exists(PROGRAM), "needs the program: set E2ENET_PROGRAM to build/PRESET/bin/e2enet")
class QuickSlurm(CohortCase):
    def test_a_few_cases_through_a_job_array_are_those_of_one_process_and_nothing_is_done_twice(self):
        with tempfile.TemporaryDirectory() as folder, slurm_cluster.SlurmCluster(os.path.join(folder, "slurm")) as cluster:
            broken = {7: "cut short", 19: "sizeof_hdr"}
            cases = make_cohort(folder, 24, broken)
            self.one_process(cases, os.path.join(folder, "one"), SMALL_MODEL)
            work = os.path.join(folder, "work")
            result = Engines.array(cluster, cases, work, SMALL_MODEL, 5)
            self.check(result, work, hashes(os.path.join(folder, "one", "labels")), broken, 24)
            before = self.stamps(work)
            self.check_nothing_is_run(Engines.array(cluster, cases, work, SMALL_MODEL, 5), work, before)


@unittest.skipUnless(FULL, NEEDS_FULL)
@unittest.skipIf(NO_CLUSTER, f"no Slurm: {NO_CLUSTER}")
class FullSlurm(CohortCase):
    COUNT = 200
    SEGMENT = ("--tta",)  # so that a case takes long enough to be killed in

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="e2enet-cohort-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.cases = make_cohort(cls.folder, cls.COUNT, BROKEN)
        cls.cluster = slurm_cluster.SlurmCluster(os.path.join(cls.folder, "slurm"))
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.stop)
        cls.one_process(cls.cases, os.path.join(cls.folder, "one"), SMALL_MODEL, cls.SEGMENT)
        cls.expected = hashes(os.path.join(cls.folder, "one", "labels"))

    def in_peace(self, name):
        work = os.path.join(self.folder, name, "work")
        os.makedirs(os.path.dirname(work))
        engine = getattr(Engines, name)
        self.check(engine(self.cluster, self.cases, work, SMALL_MODEL, 0.2, segment=self.SEGMENT), work, self.expected, BROKEN, self.COUNT)
        before = self.stamps(work)
        again = engine(self.cluster, self.cases, work, SMALL_MODEL, 0.2, segment=self.SEGMENT)
        self.check_nothing_is_run(again, work, before)

    def test_200_cases_as_a_job_array(self):
        self.in_peace("array")

    @unittest.skipUnless(SNAKEMAKE, "no snakemake")
    def test_200_cases_with_snakemake(self):
        self.in_peace("snakemake")

    def greedy_program(self, folder):
        """The program, but that the third call of it takes far more memory than its job has, once."""
        path = os.path.join(folder, "e2enet_greedy")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"""#!/bin/bash
case "$*" in *--dry-run*|*collect*|*--version*) exec {PROGRAM} "$@" ;; esac
calls=$(ls {folder}/call_* 2>/dev/null | wc -l)
: >"$(mktemp {folder}/call_XXXXXX)"
if [ "$calls" -ge 2 ] && mkdir {folder}/was_greedy 2>/dev/null; then
  {sys.executable} -c 'import time; held = bytearray(800 << 20); held[::4096] = b"x" * len(held[::4096]); time.sleep(60)'
  : >{folder}/greed_did_no_harm
fi
exec {PROGRAM} "$@"
""")
        os.chmod(path, 0o755)
        return path

    def with_faults(self, name):
        folder = os.path.join(self.folder, name + "_faults")
        work = os.path.join(folder, "work")
        os.makedirs(folder)
        ended = threading.Event()
        done = []

        def kill_one():
            """SIGKILL for a process that is in the middle of a case, which its record names."""
            records = os.path.join(work, "records")
            while not ended.is_set():
                time.sleep(0.02)
                for path in all_files(records) if os.path.isdir(records) else []:
                    try:
                        record = read_json(path)
                        if record["status"] == "running" and len(os.listdir(records)) > 10:
                            os.kill(record["process_id"], signal.SIGKILL)
                            done.append("killed " + record["case"])
                            return
                    except (OSError, ValueError):
                        pass  # replaced at this moment, or the process has just ended

        def restart():
            records = os.path.join(work, "records")
            while not ended.is_set() and not (os.path.isdir(records) and len(os.listdir(records)) > 30):
                time.sleep(0.1)
            for node in ("node1", "node2"):
                self.cluster.restart_node(node)
                done.append("restarted " + node)

        threads = [threading.Thread(target=kill_one), threading.Thread(target=restart)]
        for thread in threads:
            thread.start()
        try:
            result = getattr(Engines, name)(self.cluster, self.cases, work, SMALL_MODEL, 0.2, self.greedy_program(folder), self.SEGMENT)
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        self.assertEqual(len([what for what in done if what.startswith("killed")]), 1, done)
        self.assertEqual(len([what for what in done if what.startswith("restarted")]), 2, done)
        self.assertTrue(os.path.isdir(os.path.join(folder, "was_greedy")))
        self.assertFalse(os.path.exists(os.path.join(folder, "greed_did_no_harm")), "Slurm's memory limit did not end the job")
        self.check(result, work, self.expected, BROKEN, self.COUNT)
        before = self.stamps(work)
        again = getattr(Engines, name)(self.cluster, self.cases, work, SMALL_MODEL, 0.2, PROGRAM, self.SEGMENT)
        self.check_nothing_is_run(again, work, before)

    def test_faults_in_a_job_array(self):
        self.with_faults("array")

    @unittest.skipUnless(SNAKEMAKE, "no snakemake")
    def test_faults_with_snakemake(self):
        self.with_faults("snakemake")

    @unittest.skipUnless(SNAKEMAKE, "no snakemake")
    def test_what_the_engines_cost(self):
        folder = os.path.join(self.folder, "cost")
        os.makedirs(folder)
        cases = make_cohort(folder, self.COUNT, {})
        # 48 tiles each rather than one, so that a cohort takes minutes: what an engine costs is some seconds a job, and Snakemake
        # some 20 s a cohort, since it starts twice and looks at the queue every 10 s.
        for number in range(self.COUNT):
            write_nifti(os.path.join(folder, "images", f"case_{number:03d}.nii.gz"), phantom(number, (100, 112, 100)))
        rounds = int(os.environ.get("E2ENET_COHORT_ROUNDS", "2"))
        seconds = {"one": [], "two": [], "array": [], "snakemake": []}
        for number in range(rounds):
            result, taken = self.one_process(cases, os.path.join(folder, f"one_{number}"), LARGE_MODEL)
            self.assertEqual(result.returncode, 0, result.stdout[-2000:])
            seconds["one"].append(taken)
            # What the engines do, without them: half of the cases each in two processes with one thread.
            start = time.monotonic()
            halves = [subprocess.Popen([PROGRAM, "segment", "-m", LARGE_MODEL, "--cases", cases, "-o", os.path.join(folder, f"two_{number}"),
                                        "--record", os.path.join(folder, f"two_{number}"), "--threads", "1", "--part", part, "--quiet"])
                      for part in ("1/2", "2/2")]
            self.assertEqual([half.wait() for half in halves], [0, 0])
            seconds["two"].append(time.monotonic() - start)
            for name in ("array", "snakemake"):
                work = os.path.join(folder, f"{name}_{number}", "work")
                os.makedirs(os.path.dirname(work))
                start = time.monotonic()
                result = getattr(Engines, name)(self.cluster, cases, work, LARGE_MODEL, 2)
                seconds[name].append(time.monotonic() - start)
                self.assertEqual(result.returncode, 0, result.stdout[-2000:])
                self.assertEqual(hashes(os.path.join(work, "labels")), hashes(os.path.join(folder, f"one_{number}", "labels")))
        ratios = {name: float(np.median(np.array(seconds[name]) / np.array(seconds["one"]))) for name in ("array", "snakemake")}
        bare = {name: float(np.median(np.array(seconds[name]) / np.array(seconds["two"]))) for name in ("array", "snakemake")}
        figures("200 cases through the engine over one process on two threads, and over two processes on one thread each",
                {"seconds": seconds, "ratio": ratios, "over_two_processes": bare})
        for name, ratio in ratios.items():
            self.assertLessEqual(ratio, 1.10, f"{name}: {seconds}")


# Names of files in derivatives, by the BIDS specification 1.8 (derivatives of imaging: masks and segmentations, morphometrics).
ENTITIES = r"sub-[0-9A-Za-z]+(_ses-[0-9A-Za-z]+)?(_(acq|ce|rec|run|mod)-[0-9A-Za-z]+)*"
DERIVATIVE_NAMES = [
    r"dataset_description\.json", r"README", r"\.bidsignore", r"dseg\.tsv", r"group_morph\.(tsv|json)", r"report\.html",
    rf"sub-[0-9A-Za-z]+(/ses-[0-9A-Za-z]+)?/anat/{ENTITIES}_space-orig_dseg\.(nii\.gz|json)",
    rf"sub-[0-9A-Za-z]+(/ses-[0-9A-Za-z]+)?/anat/{ENTITIES}_morph\.tsv",
    rf"sub-[0-9A-Za-z]+/figures/{ENTITIES}_space-orig_dseg\.png", r"logs/.*",
]


@unittest.skipUnless(os.path.exists(PROGRAM), "needs the program: set E2ENET_PROGRAM to build/PRESET/bin/e2enet")
class BidsApp(unittest.TestCase):
    """One data set for all tests: eight participants, one with two sessions, one whose image is broken."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="e2enet-bids-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.bids = os.path.join(cls.folder, "bids")
        cls.out = os.path.join(cls.bids, "derivatives", "e2enet")
        names = [f"sub-{number:02d}/anat/sub-{number:02d}" for number in range(1, 8)]
        names += ["sub-08/ses-a/anat/sub-08_ses-a_run-1", "sub-08/ses-b/anat/sub-08_ses-b_acq-mp_run-2"]
        for number, name in enumerate(names):
            path = os.path.join(cls.bids, name + "_T1w.nii.gz")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            make_image(path, number)
        with open(os.path.join(cls.bids, "sub-03/anat/sub-03_T1w.nii.gz"), "r+b") as file:
            file.truncate(3000)
        cls.names = names
        with open(os.path.join(cls.bids, "dataset_description.json"), "w", encoding="utf-8") as file:
            json.dump({"Name": "Crops & phantoms", "BIDSVersion": "1.8.0", "Authors": ["A. Test", "B. Test"], "License": "CC0"}, file)
        with open(os.path.join(cls.bids, "README"), "w", encoding="utf-8") as file:
            file.write("A data set that the tests of e2enet make: crops of heads or phantoms, of no other use than to be segmented. " * 3)
        with open(os.path.join(cls.bids, "participants.tsv"), "w", encoding="utf-8") as file:
            file.write("participant_id\n" + "".join(f"sub-{number:02d}\n" for number in range(1, 9)))
        cls.first = cls.app("participant", "--participant-label", "01", "sub-08", "--n-cpus", "1", "--mem-mb", "500")
        cls.rest = cls.app("participant", "--n_cpus", "2")
        cls.before = CohortCase.stamps(cls.out)
        cls.labels_before = {path: os.stat(path).st_mtime_ns for path in all_files(cls.out) if path.endswith("dseg.nii.gz")}
        cls.again = cls.app("participant")
        cls.group = cls.app("group")

    @classmethod
    def app(cls, level, *more):
        environment = dict(os.environ, E2ENET=PROGRAM, E2ENET_MODEL=SMALL_MODEL)
        return run([BIDS, cls.bids, cls.out, level, "--skip-bids-validation", *more], environment)

    def test_participants_become_derivatives_with_names_of_the_specification(self):
        self.assertEqual(self.first.returncode, 0, self.first.stdout)
        self.assertEqual(self.rest.returncode, 1, self.rest.stdout)  # the broken one
        self.assertIn("sub-03", self.rest.stdout)
        for path in all_files(self.out):
            name = os.path.relpath(path, self.out)
            self.assertTrue(any(re.fullmatch(pattern, name) for pattern in DERIVATIVE_NAMES), name)
        for name in self.names:
            base, there = os.path.join(self.out, name), name != "sub-03/anat/sub-03"
            for ending in ("_space-orig_dseg.nii.gz", "_space-orig_dseg.json", "_morph.tsv"):
                self.assertEqual(os.path.exists(base + ending), there, name + ending)
            figure = f"{name.split('/')[0]}/figures/{os.path.basename(name)}_space-orig_dseg.png"
            self.assertEqual(os.path.exists(os.path.join(self.out, figure)), there, figure)
        description = read_json(os.path.join(self.out, "dataset_description.json"))
        self.assertEqual(description["DatasetType"], "derivative")
        self.assertEqual(description["GeneratedBy"][0]["Name"], "e2enet")
        sidecar = read_json(os.path.join(self.out, self.names[0] + "_space-orig_dseg.json"))
        with open(os.path.join(self.bids, self.names[0] + "_T1w.nii.gz"), "rb") as file:
            self.assertEqual(sidecar["SourceSHA256"], hashlib.sha256(file.read()).hexdigest())

    def test_names_and_colours_are_those_of_the_picture(self):
        with open(os.path.join(self.out, "dseg.tsv"), encoding="utf-8") as file:
            rows = [line.split("\t") for line in file.read().splitlines()]
        self.assertEqual(rows[0], ["index", "name", "color"])
        self.assertEqual([row[1] for row in rows[1:]], ["background", "anterior", "posterior"])
        colors = {row[2] for row in rows[1:]}
        self.assertEqual(len(colors), 3)
        for color in colors:
            self.assertRegex(color, "^#[0-9a-f]{6}$")
        with open(os.path.join(self.out, self.names[0] + "_morph.tsv"), encoding="utf-8") as file:
            volumes = [line.split("\t") for line in file.read().splitlines()]
        record = read_json(os.path.join(self.out, "logs", "records", self.names[0] + "_space-orig_dseg_record.json"))
        self.assertAlmostEqual(float(volumes[1][2]), 1000 * record["labels"]["1"]["ml"], places=2)

    def test_nothing_is_done_twice(self):
        self.assertEqual(self.again.returncode, 1)
        self.assertEqual({path: os.stat(path).st_mtime_ns for path in self.labels_before}, self.labels_before)

    def test_the_page_has_every_image_and_needs_no_network(self):
        self.assertEqual(self.group.returncode, 1, self.group.stdout)
        with open(os.path.join(self.out, "report.html"), encoding="utf-8") as file:
            page = file.read()
        self.assertIsNone(re.search(r"(https?:)?//[a-z]", page), "the page leads to the network")
        self.assertNotIn("<script", page)
        for name in self.names:
            self.assertIn(os.path.basename(name), page)
        pictures = re.findall(r'<img src="([^"]+)"', page)
        self.assertEqual(len(pictures), len(self.names) - 1)
        for picture in pictures:
            self.assertTrue(os.path.exists(os.path.join(self.out, picture)), picture)
        self.assertIn("Crops &amp; phantoms", page)
        with open(os.path.join(self.out, "group_morph.tsv"), encoding="utf-8") as file:
            self.assertEqual(len(file.read().splitlines()), len(self.names) + 1)

    @unittest.skipUnless(CHROMIUM, "no chromium")
    def test_the_page_in_a_browser(self):
        picture = os.path.join(RESULTS or self.folder, "report.png")
        os.makedirs(os.path.dirname(picture), exist_ok=True)
        with tempfile.TemporaryDirectory() as profile:
            result = run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                          "--disable-background-networking", "--disable-component-update", "--disable-sync",
                          f"--user-data-dir={profile}", "--window-size=1240,2600", "--virtual-time-budget=3000",
                          f"--screenshot={picture}", "file://" + os.path.join(self.out, "report.html")], timeout=120)
        self.assertTrue(os.path.exists(picture), result.stdout)
        self.assertGreater(os.path.getsize(picture), 30000)  # not blank

    def test_wrong_calls_are_refused_with_one_line(self):
        for more, word in ((["--participant_label", "99"], "found 99"), (["--suffix", "T2w"], "T2w.nii.gz, found none")):
            result = self.app("participant", *more)
            self.assertEqual(result.returncode, 1)
            self.assertIn(word, result.stdout)
        result = run([BIDS, self.folder, self.out, "group"])
        self.assertEqual(result.returncode, 1)
        self.assertIn("expected a BIDS data set", result.stdout)

    @unittest.skipUnless(FULL, NEEDS_FULL)
    @unittest.skipUnless(shutil.which("bids-validator"), "no bids-validator (npm)")
    def test_validator(self):
        # Its only version on npm checks derivatives where they belong, inside their data set, by passing over them; on their own it
        # checks all but what it calls unknown names, which are compared with the specification above.
        def errors(folder):
            said = subprocess.run(["bids-validator", folder, "--json", "--ignoreNiftiHeaders"], stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, timeout=300).stdout
            return {issue["key"] for issue in json.loads(said)["issues"]["errors"]}

        self.assertEqual(errors(self.bids), set())
        self.assertEqual(errors(self.out) - {"NOT_INCLUDED", "NO_VALID_DATA_FOUND_FOR_SUBJECT", "SUBJECT_FOLDERS"}, set())
        # The app runs it itself, and takes no data set that is not valid.
        environment = dict(os.environ, E2ENET=PROGRAM, E2ENET_MODEL=SMALL_MODEL)
        call = [BIDS, self.bids, self.out, "participant", "--participant-label", "01"]
        self.assertEqual(run(call, environment).returncode, 0)
        wrong = os.path.join(self.bids, "sub-01", "anat", "sub-01_T9w.nii.gz")
        shutil.copy(os.path.join(self.bids, "sub-01", "anat", "sub-01_T1w.nii.gz"), wrong)
        try:
            result = run(call, environment)
        finally:
            os.remove(wrong)
        self.assertEqual(result.returncode, 1)
        self.assertIn("expected a valid BIDS data set", result.stdout)


if __name__ == "__main__":
    unittest.main()
