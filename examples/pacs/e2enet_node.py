#!/usr/bin/env python3
"""A place for e2enet in a PACS: series that arrive are recognised by rules, segmented, and their segmentations are put
back into the same study. Python's standard library, the program `e2enet`, and either Orthanc or DCMTK's storescp.

  e2enet_node.py orthanc --url http://127.0.0.1:8042 --rules rules.json --state /var/lib/e2enet
      Watches an Orthanc and segments every stable series that a rule fits. Runs until it is told to stop.
  e2enet_node.py study FOLDER --rules rules.json --state /var/lib/e2enet --send AET@HOST:PORT
      Segments the series of one study that storescp has received (--exec-on-eostudy), and sends the results.
  e2enet_node.py leftovers FOLDER ...
      The same for every study in FOLDER: what a restart has interrupted.

README.md beside this file says how to set it up, and what it does with patient data. What it prints has no names: series
are called by the first letters of a digest of their UID.
"""
import argparse
import base64
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

OWN_MODALITY = "SEG"  # of what this node makes: never segmented


def short(uid):
    return hashlib.sha256(uid.encode()).hexdigest()[:12]


def log(text):
    print(time.strftime("%Y-%m-%d %H:%M:%S"), text, file=sys.stderr, flush=True)


class Failed(Exception):
    """A case that cannot be done; its text says why, and is kept beside the case's state."""


class Rules:
    """rules.json: the first rule that fits a series decides its model."""

    KEYS = {"name", "modality", "description", "least_slices", "model", "options"}

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.rules = json.load(file)["rules"]
        for rule in self.rules:
            unknown = set(rule) - self.KEYS
            if unknown or not {"name", "modality", "model"} <= set(rule):
                raise SystemExit(f"{path}: rule {rule.get('name')!r}: expected name, modality and model, and at most "
                                 f"{sorted(self.KEYS)}, found {sorted(rule)}")
            if rule["modality"] == OWN_MODALITY:
                raise SystemExit(f"{path}: rule {rule['name']!r}: segmentations are never segmented")
            rule["pattern"] = re.compile(rule.get("description", ""), re.IGNORECASE)
            if not os.path.isfile(rule["model"]):
                raise SystemExit(f"{path}: rule {rule['name']!r}: model {rule['model']} is not there")

    def find(self, modality, description, slices):
        for rule in self.rules:
            if (rule["modality"] == modality and rule["pattern"].search(description or "")
                    and slices >= rule.get("least_slices", 2)):
                return rule
        return None


class State:
    """What was done and what failed, a file a series: done/UID and failed/UID. A series counts as done for the very
    slices that it had; files appear whole or not at all, so a restart at any time loses and repeats nothing."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        for name in ("done", "failed", "work"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        # What was under way when the node was stopped is begun anew.
        for leftover in (self.folder / "work").iterdir():
            if not self._alive(leftover):
                shutil.rmtree(leftover, ignore_errors=True)

    @staticmethod
    def _alive(folder):
        try:
            os.kill(int(folder.name.split("-")[0]), 0)
            return True
        except (ValueError, ProcessLookupError):
            return False
        except PermissionError:
            return True

    def _path(self, kind, uid):
        return self.folder / kind / short(uid)

    def seen(self, uid, fingerprint):
        for kind in ("done", "failed"):
            path = self._path(kind, uid)
            if path.exists() and json.loads(path.read_text())["fingerprint"] == fingerprint:
                return True
        return False

    def record(self, kind, uid, fingerprint, **more):
        path = self._path(kind, uid)
        temporary = path.with_name("." + path.name)
        temporary.write_text(json.dumps({"series": uid, "fingerprint": fingerprint,
                                         "time": time.strftime("%Y-%m-%dT%H:%M:%S"), **more}, indent=2))
        temporary.replace(path)
        if kind == "done":  # an earlier failure, of fewer slices say, is no longer true
            self._path("failed", uid).unlink(missing_ok=True)

    def work_folder(self):
        return tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-", dir=self.folder / "work")


def fingerprint_of(instances):
    return hashlib.sha256("\n".join(sorted(instances)).encode()).hexdigest()


def segment(program, threads, folder, uid, rule, output):
    """One series of a folder to a segmentation. Raises Failed with the program's own line."""
    call = [program, "segment", "-m", rule["model"], "-i", str(folder), "--series", uid, "-o", str(output), "--quiet",
            *rule.get("options", [])]
    if threads:
        call += ["--threads", str(threads)]
    done = subprocess.run(call, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        # Paths of the work folder say nothing to anybody.
        raise Failed(done.stderr.strip().replace(str(folder) + os.sep, "") or f"e2enet ended with {done.returncode}")


class Orthanc:
    def __init__(self, url, user=None, password=None):
        self.url = url.rstrip("/")
        self.headers = {}
        if user:
            token = base64.b64encode(f"{user}:{password or ''}".encode()).decode()
            self.headers["Authorization"] = "Basic " + token

    def request(self, path, data=None, kind=None):
        headers = dict(self.headers)
        if kind:
            headers["Content-Type"] = kind
        request = urllib.request.Request(self.url + path, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=600) as response:
            return response.read()

    def json(self, path):
        return json.loads(self.request(path))

    def download(self, instance, path):
        request = urllib.request.Request(f"{self.url}/instances/{instance}/file", headers=self.headers)
        with urllib.request.urlopen(request, timeout=600) as response, open(path, "wb") as file:
            shutil.copyfileobj(response, file)


class OrthancNode:
    """Follows the changes of an Orthanc. The series that are there at the start are looked at too, so that nothing is
    lost that came, or was under way, while the node was away."""

    def __init__(self, arguments):
        self.orthanc = Orthanc(arguments.url, arguments.user, os.environ.get("E2ENET_ORTHANC_PASSWORD"))
        self.rules = Rules(arguments.rules)
        self.state = State(arguments.state)
        self.arguments = arguments
        self.stop = threading.Event()
        self.under_way = set()
        self.lock = threading.Lock()

    def run(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop.set())
        pool = concurrent.futures.ThreadPoolExecutor(max_workers=self.arguments.at_once)
        last = None
        while not self.stop.is_set():
            try:
                if last is None:
                    last = self.orthanc.json("/changes?last")["Last"]
                    for series in self.orthanc.json("/series"):
                        self.begin(pool, series)
                changes = self.orthanc.json(f"/changes?since={last}&limit=100")
                for change in changes["Changes"]:
                    if change["ChangeType"] == "StableSeries":
                        self.begin(pool, change["ID"])
                last = changes["Last"]
                if not changes["Done"]:
                    continue
            except (urllib.error.URLError, OSError, ValueError, KeyError) as problem:
                log(f"Orthanc cannot be asked: {problem}")
                last = None  # it may have been started anew
            self.stop.wait(self.arguments.every)
        pool.shutdown(wait=True, cancel_futures=True)

    def begin(self, pool, series):
        with self.lock:
            if series in self.under_way:
                return
            self.under_way.add(series)
        pool.submit(self.work, series)

    def work(self, series):
        try:
            if not self.stop.is_set():
                self.case(series)
        except (urllib.error.URLError, OSError) as problem:
            log(f"{short(series)}: not now: {problem}")  # at the next start, or when the series changes
        except Exception as problem:  # a defect must not end the node
            log(f"{short(series)}: {type(problem).__name__}: {problem}")
        finally:
            with self.lock:
                self.under_way.discard(series)

    def case(self, series):
        about = self.orthanc.json(f"/series/{series}")
        tags = about["MainDicomTags"]
        if not about["IsStable"]:
            return  # a change will tell
        rule = self.rules.find(tags.get("Modality"), tags.get("SeriesDescription"), len(about["Instances"]))
        if not rule:
            return
        uid = tags["SeriesInstanceUID"]
        fingerprint = fingerprint_of(about["Instances"])
        if self.state.seen(uid, fingerprint):
            return
        log(f"{short(uid)}: {len(about['Instances'])} files, rule '{rule['name']}'")
        with self.state.work_folder() as folder:
            source = pathlib.Path(folder) / "source"
            source.mkdir()
            for number, instance in enumerate(about["Instances"]):
                self.orthanc.download(instance, source / f"{number:06d}")
            output = pathlib.Path(folder) / "segmentation.dcm"
            try:
                segment(self.arguments.program, self.arguments.threads, source, uid, rule, output)
            except Failed as problem:
                self.state.record("failed", uid, fingerprint, rule=rule["name"], message=str(problem))
                log(f"{short(uid)}: failed: {problem}")
                return
            answer = json.loads(self.orthanc.request("/instances", output.read_bytes(), "application/dicom"))
        self.state.record("done", uid, fingerprint, rule=rule["name"], segmentation=answer["ID"])
        log(f"{short(uid)}: done")


def study(arguments, folder):
    """The series of a study that lies in a folder. The folder is removed when all of it was dealt with."""
    rules, state = Rules(arguments.rules), State(arguments.state)
    listed = subprocess.run([arguments.program, "dicom", str(folder), "--json"], capture_output=True, text=True)
    if listed.returncode != 0:
        state.record("failed", str(folder), "", message=listed.stderr.strip())
        log(f"{short(str(folder))}: failed: {listed.stderr.strip()}")
        return 1
    failed = 0
    for series in json.loads(listed.stdout)["series"]:
        uid, fingerprint = series["uid"], str(series["slices"])
        rule = rules.find(series["modality"], series["description"], series["slices"])
        if not rule or state.seen(uid, fingerprint):
            continue
        log(f"{short(uid)}: {series['slices']} slices, rule '{rule['name']}'")
        with state.work_folder() as work:
            output = pathlib.Path(work) / "segmentation.dcm"
            try:
                segment(arguments.program, arguments.threads, folder, uid, rule, output)
            except Failed as problem:
                state.record("failed", uid, fingerprint, rule=rule["name"], message=str(problem))
                log(f"{short(uid)}: failed: {problem}")
                failed += 1
                continue
            title, host, port = re.fullmatch(r"([^@]+)@([^:]+):(\d+)", arguments.send).groups()
            sent = subprocess.run(["storescu", "--required", "-aec", title, host, port, str(output)], capture_output=True, text=True)
            if sent.returncode != 0:
                log(f"{short(uid)}: cannot be sent, kept for the next time: {sent.stderr.strip()}")
                return 1  # the folder stays, and is dealt with again
        state.record("done", uid, fingerprint, rule=rule["name"])
        log(f"{short(uid)}: done")
    if not failed or not arguments.keep_failed:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("orthanc", "study", "leftovers"):
        command = commands.add_parser(name)
        command.add_argument("--rules", required=True, help="which series gets which model")
        command.add_argument("--state", required=True, help="folder for what was done, what failed, and work")
        command.add_argument("--program", default="e2enet")
        command.add_argument("--threads", type=int, default=0, help="of each segmentation; 0: all")
        if name == "orthanc":
            command.add_argument("--url", default="http://127.0.0.1:8042")
            command.add_argument("--user", help="its password is taken from E2ENET_ORTHANC_PASSWORD")
            command.add_argument("--at-once", type=int, default=2, help="studies that are worked on at one time")
            command.add_argument("--every", type=float, default=2, help="seconds between two looks")
        else:
            command.add_argument("folder")
            command.add_argument("--send", required=True, metavar="AET@HOST:PORT")
            command.add_argument("--keep-failed", action="store_true", help="leave the files of a study that failed")
    arguments = parser.parse_args()
    if arguments.command == "orthanc":
        OrthancNode(arguments).run()
        return 0
    if arguments.command == "study":
        return study(arguments, arguments.folder)
    folders = sorted(path for path in pathlib.Path(arguments.folder).iterdir() if path.is_dir())
    return max([study(arguments, folder) for folder in folders], default=0)


if __name__ == "__main__":
    sys.exit(main())
