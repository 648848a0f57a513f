#!/usr/bin/env python3
"""A place for e2enet in a PACS: series that arrive are recognised by rules, segmented, and their segmentations are put
back into the same study. Python's standard library, the program `e2enet`, and either Orthanc or DCMTK's storescp.

  e2enet_node.py orthanc --url http://127.0.0.1:8042 --rules rules.json --state /var/lib/e2enet
      Watches an Orthanc and segments every stable series that a rule fits. Runs until it is told to stop.
  e2enet_node.py study FOLDER --rules rules.json --state /var/lib/e2enet --send AET@HOST:PORT
      Segments the series of one study that storescp has received (--exec-on-eostudy), and sends the results.
  e2enet_node.py leftovers FOLDER ...
      The same for every study in FOLDER: what a restart has interrupted.

What fails for a reason that may pass (Orthanc or the archive does not answer, a disk is full) is tried again a number of
times, after longer and longer waits. README.md beside this file says how to set it up, and what it does with patient data.
What it prints has no names: series are called by the first letters of a digest of their UID.
"""
import argparse
import base64
import concurrent.futures
import contextlib
import errno
import fcntl
import hashlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

TAKEN = ".taken-"  # in the name of a study's folder that is worked on
OWN_MODALITY = "SEG"  # of what this node makes: never segmented
LONGEST_WAIT = 600  # seconds between two tries
# What the program says where the machine, and not the series, is why it cannot be done now.
PASSING = ("No space left on device", "Disk quota exceeded", "Input/output error", "the system gave no memory",
           "free memory to be enough")


def short(uid):
    return hashlib.sha256(uid.encode()).hexdigest()[:12]


def log(text):
    print(time.strftime("%Y-%m-%d %H:%M:%S"), text, file=sys.stderr, flush=True)


class Failed(Exception):
    """A case that cannot be done; its text says why, and is kept beside the case's state."""


class NotNow(Exception):
    """A case that could not be done for a reason that may pass."""


def wait_before(attempt, first_wait):
    """Seconds before try number `attempt`, the first being 0."""
    return min(LONGEST_WAIT, first_wait * 2 ** (attempt - 1))


def lock(path):
    """Holds a file for this process; None where another process does. The system lets go of it when the process ends."""
    while True:
        file = open(path, "a", encoding="utf-8")  # pylint: disable=consider-using-with
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_ino == os.stat(path).st_ino:
                return file
        except FileNotFoundError:
            pass  # the other process removed it when it was done: once more
        except OSError as problem:
            file.close()
            if problem.errno in (errno.EAGAIN, errno.EACCES):
                return None
            raise
        file.close()


def without(folder, message):
    """A message of the program without the folder, whose name says nothing to anybody, or may be a patient's."""
    return message.strip().replace(str(folder) + os.sep, "").replace(str(folder), "the study")


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

    def __init__(self, folder, alone):
        """`alone`: no other process may work on this folder; else several of the same kind may."""
        self.folder = pathlib.Path(folder)
        for name in ("done", "failed", "work", "kept"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._lock = open(self.folder / "lock", "a", encoding="utf-8")  # pylint: disable=consider-using-with
        try:
            fcntl.flock(self._lock, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as problem:
            if problem.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise SystemExit(f"{folder}: expected a folder on which no other node works, found one that does") from None
        # What was under way when a node was stopped is begun anew. A folder is there only while its lock is.
        for leftover in (self.folder / "work").glob("*.lock"):
            held = lock(leftover)
            if held:
                shutil.rmtree(leftover.with_suffix(""), ignore_errors=True)
                leftover.unlink(missing_ok=True)
                held.close()

    def _path(self, kind, uid):
        return self.folder / kind / short(uid)

    def seen(self, uid, fingerprint):
        """Whether these slices were dealt with: segmented, or refused for a reason that will not pass."""
        for kind in ("done", "failed"):
            path = self._path(kind, uid)
            try:
                known = json.loads(path.read_text(encoding="utf-8"))
            except FileNotFoundError:
                continue
            if known["fingerprint"] == fingerprint and not known.get("may_pass"):
                return True
        return False

    def done(self, uid, fingerprint):
        try:
            return json.loads(self._path("done", uid).read_text(encoding="utf-8"))["fingerprint"] == fingerprint
        except FileNotFoundError:
            return False

    def record(self, kind, uid, fingerprint, **more):
        path = self._path(kind, uid)
        temporary = path.with_name(f".{path.name}-{os.getpid()}-{threading.get_ident()}")
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                json.dump({"series": uid, "fingerprint": fingerprint, "time": time.strftime("%Y-%m-%dT%H:%M:%S"), **more},
                          file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        if kind == "done":  # an earlier failure, of fewer slices say, is no longer true
            self._path("failed", uid).unlink(missing_ok=True)

    def forget(self, kind, uid):
        self._path(kind, uid).unlink(missing_ok=True)

    @contextlib.contextmanager
    def work_folder(self):
        path = self.folder / "work" / f"{os.getpid()}-{threading.get_ident()}-{time.monotonic_ns()}"
        name = path.with_name(path.name + ".lock")
        with lock(name):
            path.mkdir()
            try:
                yield path
            finally:
                shutil.rmtree(path, ignore_errors=True)
                name.unlink(missing_ok=True)

    def keep(self, folder, most):
        """Puts the slices of a study that failed aside, at most `most` studies; the oldest are removed for new ones."""
        kept = self.folder / "kept"
        if most > 0:
            name = f"{time.strftime('%Y%m%dT%H%M%S')}-{time.monotonic_ns()}-{short(str(folder))}"
            temporary = kept / ("." + name)  # a move to another disk is not done at once
            try:
                shutil.move(str(folder), temporary)
                temporary.rename(kept / name)
            except OSError:
                if folder.exists():  # a copy that was not finished
                    shutil.rmtree(temporary, ignore_errors=True)
                raise
            log(f"kept in {kept / name}")
        else:
            shutil.rmtree(folder)
        studies = sorted(path for path in kept.iterdir() if not path.name.startswith("."))
        for old in studies[:max(0, len(studies) - most)]:
            log(f"{old}: removed, since {most} studies that failed are kept")
            shutil.rmtree(old, ignore_errors=True)


def fingerprint_of(instances):
    return hashlib.sha256("\n".join(sorted(instances)).encode()).hexdigest()


def segment(program, threads, folder, uid, rule, output):
    """One series of a folder to a segmentation. Raises Failed with the program's own line."""
    call = [program, "segment", "-m", rule["model"], "-i", str(folder), "--series", uid, "-o", str(output), "--quiet",
            *rule.get("options", [])]
    if threads:
        call += ["--threads", str(threads)]
    done = subprocess.run(call, capture_output=True, text=True, errors="replace")
    if done.returncode == 0:
        return
    message = without(folder, done.stderr) or f"e2enet ended with {done.returncode}"
    # Ended by a signal: by the system, perhaps, which had no memory left.
    if done.returncode < 0 or any(reason in message for reason in PASSING):
        raise NotNow(message)
    raise Failed(message)


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
        self.state = State(arguments.state, alone=True)
        self.arguments = arguments
        self.stop = threading.Event()
        self.under_way = set()  # series that are worked on, wait for their turn, or for another try
        self.later = []  # (when, series, attempt)
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
                more = not changes["Done"]
            except (OSError, http.client.HTTPException, ValueError, KeyError) as problem:
                log(f"Orthanc cannot be asked: {problem}")
                last, more = None, False  # it may have been started anew
            self.begin_due(pool)
            if not more:
                self.stop.wait(self.arguments.every)
        pool.shutdown(wait=True, cancel_futures=True)

    def begin(self, pool, series):
        with self.lock:
            if series in self.under_way:
                return
            self.under_way.add(series)
        pool.submit(self.work, series, 0)

    def begin_due(self, pool):
        now = time.monotonic()
        with self.lock:
            due = [one for one in self.later if one[0] <= now]
            self.later = [one for one in self.later if one[0] > now]
        for _, series, attempt in due:
            pool.submit(self.work, series, attempt)

    def work(self, series, attempt):
        again = False
        try:
            if not self.stop.is_set():
                self.case(series)
        except urllib.error.HTTPError as problem:
            if problem.code == 404:
                log(f"{short(series)}: Orthanc has it no more")
            else:
                again = self.not_now(series, attempt, problem)
        except (OSError, http.client.HTTPException, NotNow) as problem:
            again = self.not_now(series, attempt, problem)
        except Exception as problem:  # a defect must not end the node
            log(f"{short(series)}: {type(problem).__name__}: {problem}")
        finally:
            if not again:
                with self.lock:
                    self.under_way.discard(series)

    def not_now(self, series, attempt, problem):
        """Whether it is tried again; else a message is left, and the next start of the node tries again."""
        if attempt >= self.arguments.retries:
            log(f"{short(series)}: given up until the node is started anew: {problem}")
            try:
                self.state.record("failed", series, "", may_pass=True, message=str(problem))
            except OSError as other:
                log(f"{short(series)}: its message cannot be kept: {other}")
            return False
        seconds = wait_before(attempt + 1, self.arguments.first_wait)
        log(f"{short(series)}: not now, again in {seconds:g} s: {problem}")
        with self.lock:
            self.later.append((time.monotonic() + seconds, series, attempt + 1))
        return True

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
            source = folder / "source"
            source.mkdir()
            for number, instance in enumerate(about["Instances"]):
                self.orthanc.download(instance, source / f"{number:06d}")
            output = folder / "segmentation.dcm"
            try:
                segment(self.arguments.program, self.arguments.threads, source, uid, rule, output)
            except Failed as problem:
                self.state.record("failed", uid, fingerprint, rule=rule["name"], message=str(problem))
                log(f"{short(uid)}: failed: {problem}")
                return
            answer = json.loads(self.orthanc.request("/instances", output.read_bytes(), "application/dicom"))
        self.state.record("done", uid, fingerprint, rule=rule["name"], segmentation=answer["ID"])
        self.state.forget("failed", series)  # a message of an earlier try
        log(f"{short(uid)}: done")


class StudyNode:
    """Studies that storescp has received, a folder each."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.rules = Rules(arguments.rules)
        self.state = State(arguments.state, alone=False)
        self.send_to = re.fullmatch(r"([^@]+)@([^:]+):(\d+)", arguments.send)
        if not self.send_to:
            raise SystemExit(f"--send: expected AET@HOST:PORT, found {arguments.send!r}")

    def turn(self):
        """Waits until fewer than --at-once processes are at work, however many storescp starts."""
        while True:
            for slot in range(self.arguments.at_once):
                held = lock(self.state.folder / f"turn-{slot}")
                if held:
                    return held
            time.sleep(0.5)

    def study(self, folder):
        """Deals with a study's series, then takes the folder away: removed where all is well, kept where one failed. What
        comes in the meantime lies in a new folder. 0: nothing left to do."""
        folder = pathlib.Path(folder)
        if not folder.is_dir():
            log("a study's folder: expected one, found none")
            return 1
        if TAKEN not in folder.name:
            taken = folder.with_name(f"{folder.name}{TAKEN}{time.time_ns()}")
            folder.rename(taken)  # storescp would put what comes now beside what is removed below
            folder = taken
        held = lock(self.state.folder / f"study-{short(str(folder.absolute()))}")
        if not held:
            log(f"{short(folder.name)}: another process is at it")
            return 0
        with held, self.turn():
            if not folder.exists():
                return 0
            for attempt in range(self.arguments.retries + 1):
                if attempt:
                    seconds = wait_before(attempt, self.arguments.first_wait)
                    log(f"{short(folder.name)}: again in {seconds:g} s")
                    time.sleep(seconds)
                try:
                    failed = self.series_of(folder)
                    break
                except (OSError, NotNow) as problem:
                    log(f"{short(folder.name)}: not now: {problem}")
            else:
                log(f"{short(folder.name)}: stays for the next call of 'leftovers'")
                return 1
            try:
                if failed:
                    self.state.keep(folder, self.arguments.keep_failed)
                else:
                    shutil.rmtree(folder)
            except OSError as problem:
                log(f"{short(folder.name)}: stays where it is: {problem}")
                return 1
            pathlib.Path(held.name).unlink(missing_ok=True)
        return 1 if failed else 0

    def series_of(self, folder):
        """How many of the series failed. Raises NotNow where one could not be done or sent, after all others."""
        listed = subprocess.run([self.arguments.program, "dicom", str(folder), "--json"], capture_output=True, text=True,
                                errors="replace")
        if listed.returncode != 0:
            message = without(folder, listed.stderr)
            if listed.returncode < 0 or any(reason in message for reason in PASSING):
                raise NotNow(message)
            self.state.record("failed", folder.name.split(TAKEN)[0], "", message=message)
            log(f"{short(folder.name)}: failed: {message}")
            return 1
        # storescp calls files by their instance UIDs.
        files = fingerprint_of(path.name for path in folder.rglob("*") if path.is_file())
        failed, passing = 0, []
        for series in json.loads(listed.stdout)["series"]:
            uid = series["uid"]
            rule = self.rules.find(series["modality"], series["description"], series["slices"])
            if not rule:
                continue
            if self.state.seen(uid, files):
                failed += not self.state.done(uid, files)
                continue
            log(f"{short(uid)}: {series['slices']} slices, rule '{rule['name']}'")
            try:
                self.one(folder, uid, rule)
            except Failed as problem:
                self.state.record("failed", uid, files, rule=rule["name"], message=str(problem))
                log(f"{short(uid)}: failed: {problem}")
                failed += 1
            except (OSError, NotNow) as problem:
                passing.append(str(problem))
            else:
                self.state.record("done", uid, files, rule=rule["name"])
                log(f"{short(uid)}: done")
        if passing:
            raise NotNow(passing[0])
        return failed

    def one(self, folder, uid, rule):
        with self.state.work_folder() as work:
            output = work / "segmentation.dcm"
            segment(self.arguments.program, self.arguments.threads, folder, uid, rule, output)
            title, host, port = self.send_to.groups()
            sent = subprocess.run(["storescu", "--required", "-aec", title, host, port, str(output)], capture_output=True,
                                  text=True, errors="replace")
            if sent.returncode != 0:
                raise NotNow("the segmentation cannot be sent: " + (sent.stderr.strip() or sent.stdout.strip()))


def count(text):
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("orthanc", "study", "leftovers"):
        command = commands.add_parser(name)
        command.add_argument("--rules", required=True, help="which series gets which model")
        command.add_argument("--state", required=True, help="folder for what was done, what failed, and work")
        command.add_argument("--program", default="e2enet")
        command.add_argument("--threads", type=int, default=0, help="of each segmentation; 0: all")
        command.add_argument("--at-once", type=count, default=2, help="segmentations at one time")
        command.add_argument("--retries", type=count, default=8,
                             help="how often a case is tried again that fails for a reason that may pass")
        command.add_argument("--first-wait", type=float, default=5, metavar="SECONDS",
                             help=f"before the first of them; each wait is twice the last, at most {LONGEST_WAIT} s")
        if name == "orthanc":
            command.add_argument("--url", default="http://127.0.0.1:8042")
            command.add_argument("--user", help="its password is taken from E2ENET_ORTHANC_PASSWORD")
            command.add_argument("--every", type=float, default=2, help="seconds between two looks")
        else:
            command.add_argument("folder")
            command.add_argument("--send", required=True, metavar="AET@HOST:PORT")
            command.add_argument("--keep-failed", type=count, default=100, metavar="N",
                                 help="studies of which a series failed are moved to STATE/kept, at most so many; 0: removed")
    arguments = parser.parse_args()
    if arguments.at_once < 1:
        parser.error("--at-once: expected 1 or more, found 0")
    if arguments.command == "orthanc":
        OrthancNode(arguments).run()
        return 0
    node = StudyNode(arguments)
    if arguments.command == "study":
        return node.study(arguments.folder)
    folders = sorted(path for path in pathlib.Path(arguments.folder).iterdir() if path.is_dir())
    return max([node.study(folder) for folder in folders], default=0)


if __name__ == "__main__":
    sys.exit(main())
