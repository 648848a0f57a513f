"""examples/pacs: the whole loop through a real Orthanc on the loopback interface, and through storescp."""

import glob
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

import numpy as np

import support

try:
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
except ImportError:
    pydicom = None

PROGRAM = os.environ.get("E2ENET_PROGRAM", os.path.join(support.ROOT, "build", "release", "bin", "e2enet"))
NODE = os.path.join(support.ROOT, "examples", "pacs", "e2enet_node.py")
ORTHANC = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
PATIENT = "Geheim^Erika"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def has_dicom():
    return os.path.exists(PROGRAM) and subprocess.run([PROGRAM, "dicom", support.ROOT + "/cmake"],
                                                      capture_output=True).returncode == 0


def write_series(folder, uid, study, description="T1", slices=12, modality="MR", gap=0, rows=20, columns=18):
    """A series of noise; `gap` mm more between two of its slices."""
    os.makedirs(folder)
    random = np.random.default_rng(len(uid) + slices)
    for k in range(slices):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        meta.MediaStorageSOPInstanceUID = f"{uid}.{k + 1}"
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        data.PatientName, data.PatientID = PATIENT, "17"
        data.PatientBirthDate = data.PatientSex = data.StudyID = data.AccessionNumber = ""
        data.StudyDate, data.StudyTime, data.ReferringPhysicianName = "20240102", "101112", ""
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, uid, uid + ".0"
        data.Modality, data.SeriesDescription, data.SeriesNumber, data.InstanceNumber = modality, description, 3, k + 1
        data.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        data.Rows, data.Columns, data.PixelSpacing, data.SliceThickness = rows, columns, [1, 1.5], 2
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [0, 0, 2 * k + (gap if k > slices // 2 else 0)]
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
        data.PixelData = random.integers(0, 4096, (rows, columns), np.uint16).tobytes()
        data.save_as(os.path.join(folder, f"{k:03d}"), write_like_original=False)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.processes = []
        self.addCleanup(self.end_processes)
        config = {"input_channels": 1, "classes": 3, "base_features": 4, "patch_size": [8, 16, 16],
                  "pool_strides": [[1, 2, 2], [2, 2, 2]], "density": 0.5, "preprocessing": {"orientation": "RAS"}}
        with open(self.path("config.json"), "w", encoding="utf-8") as file:
            json.dump(config, file)
        subprocess.run([PROGRAM, "random", "-o", self.path("model.safetensors"), "--config", self.path("config.json"),
                        "--seed", "5", "--quiet"], check=True)
        self.write_rules()

    def write_rules(self):
        rules = {"rules": [{"name": "head", "modality": "MR", "description": "^t1", "least_slices": 10,
                            "model": self.path("model.safetensors"), "options": ["--threads", "1"]}]}
        with open(self.path("rules.json"), "w", encoding="utf-8") as file:
            json.dump(rules, file)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def start(self, *call, log="log"):
        with open(self.path(log), "ab") as file:
            process = subprocess.Popen(call, stdout=file, stderr=file)
        self.processes.append(process)
        return process

    def stop(self, process, number=signal.SIGTERM):
        if process.poll() is None:
            process.send_signal(number)
        process.wait(timeout=60)

    def end_processes(self):
        for process in reversed(self.processes):
            self.stop(process, signal.SIGKILL)

    def read(self, name):
        with open(self.path(name), encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_for(self, condition, what, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            result = condition()
            if result:
                return result
            time.sleep(0.2)
        logs = "\n".join(f"{name}: {self.read(name)[-2000:]}" for name in os.listdir(self.folder) if "log" in name)
        self.fail(f"{what}: not within {seconds} s\n{logs}")

    def expected(self, series):
        """The segmentation that the program makes of the folder itself."""
        out = self.path("expected.dcm")
        subprocess.run([PROGRAM, "segment", "-m", self.path("model.safetensors"), "-i", series, "-o", out, "--quiet"],
                       check=True)
        return pydicom.dcmread(out)

    def check_same(self, found, series):
        expected = self.expected(series)
        self.assertEqual(found.SOPInstanceUID, expected.SOPInstanceUID)
        self.assertEqual(found.StudyInstanceUID, expected.StudyInstanceUID)
        self.assertEqual(found.PixelData, expected.PixelData)
        self.assertTrue(np.any(found.pixel_array))

    def check_no_names(self, name):
        self.assertNotIn("Geheim", self.read(name))
        self.assertNotIn("Erika", self.read(name))


@unittest.skipUnless(pydicom, "needs python3-pydicom")
@unittest.skipUnless(has_dicom(), "needs the program, built with DICOM")
@unittest.skipUnless(os.path.exists(ORTHANC), "needs orthanc")
@unittest.skipUnless(shutil.which("storescu"), "needs dcmtk's storescu")
class OrthancCase(Case):
    PLUGINS = []

    def setUp(self):
        super().setUp()
        self.http, self.dicom = free_port(), free_port()
        config = {"Name": "test", "StorageDirectory": self.path("storage"), "IndexDirectory": self.path("storage"),
                  "HttpPort": self.http, "DicomPort": self.dicom, "DicomAet": "TEST", "RemoteAccessAllowed": False,
                  "AuthenticationEnabled": False, "StableAge": 1, "Plugins": self.PLUGINS, "DicomCheckCalledAet": False,
                  "DicomAlwaysAllowStore": True}
        with open(self.path("orthanc.json"), "w", encoding="utf-8") as file:
            json.dump(config, file)
        self.start_orthanc()

    def start_orthanc(self):
        self.orthanc = self.start(ORTHANC, self.path("orthanc.json"), log="orthanc.log")
        self.wait_for(self.is_up, "Orthanc is up")

    def is_up(self):
        try:
            return self.get("/system")
        except OSError:
            return None

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=30) as answer:
            return json.loads(answer.read())

    def segmentations(self):
        return [one for one in self.get("/series?expand") if one["MainDicomTags"].get("Modality") == "SEG"]

    def send(self, series):
        subprocess.run(["storescu", "-aec", "TEST", "127.0.0.1", str(self.dicom), "+sd", series], check=True)


class ThroughOrthanc(OrthancCase):
    def start_node(self, *more, port=None, log="node.log"):
        return self.start(sys.executable, NODE, "orthanc", "--url", f"http://127.0.0.1:{port or self.http}", "--rules",
                          self.path("rules.json"), "--state", self.path("state"), "--program", PROGRAM, "--every", "0.3",
                          *more, log=log)

    def start_front(self, failures):
        """A server before Orthanc that answers the first so many results with 'insufficient storage'. Returns its port."""
        orthanc, left = f"http://127.0.0.1:{self.http}", [failures]

        class Front(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.pass_on(None)

            def do_POST(self):
                data = self.rfile.read(int(self.headers["Content-Length"]))
                if left[0] > 0:
                    left[0] -= 1
                    self.send_error(507)
                else:
                    self.pass_on(data)

            def pass_on(self, data):
                try:
                    with urllib.request.urlopen(urllib.request.Request(orthanc + self.path, data=data), timeout=30) as answer:
                        status, body = 200, answer.read()
                except urllib.error.HTTPError as problem:
                    status, body = problem.code, b""
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        front = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Front)
        threading.Thread(target=front.serve_forever, daemon=True).start()
        self.addCleanup(front.server_close)
        self.addCleanup(front.shutdown)
        return front.server_address[1]

    def files_of(self, series):
        for instance in series["Instances"]:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/instances/{instance}/file", timeout=30) as answer:
                with open(self.path("fetched.dcm"), "wb") as file:
                    file.write(answer.read())
            yield pydicom.dcmread(self.path("fetched.dcm"))

    def done(self):
        return glob.glob(self.path("state", "done", "[!.]*"))

    def test_a_series_arrives_and_its_segmentation_is_in_its_study_once(self):
        node = self.start_node()
        write_series(self.path("a"), "1.2.3.1", "1.2.3")
        write_series(self.path("other"), "1.2.3.2", "1.2.3", description="T2")
        write_series(self.path("short"), "1.2.3.9", "1.2.3", slices=4)
        for series in ("a", "other", "short"):
            self.send(self.path(series))
        found = self.wait_for(self.segmentations, "a segmentation")
        self.wait_for(self.done, "it is noted")
        self.assertEqual(len(found), 1)
        (segmentation,) = self.files_of(found[0])
        self.check_same(segmentation, self.path("a"))
        self.assertEqual(len(self.get("/studies")), 1)
        # Its own result is stable after a second, and nothing follows; nor when all comes again, nor at a new start.
        time.sleep(3)
        self.send(self.path("a"))
        time.sleep(3)
        self.stop(node)
        node = self.start_node()
        time.sleep(3)
        self.stop(node)
        self.assertEqual(node.returncode, 0)
        self.assertEqual(len(self.segmentations()), 1)
        self.assertEqual(self.read("node.log").count(": done"), 1)
        self.check_no_names("node.log")
        self.assertEqual(os.listdir(self.path("state", "work")), [])

    def test_a_case_that_fails_leaves_its_message_and_no_result(self):
        self.start_node()
        write_series(self.path("uneven"), "1.2.4.1", "1.2.4", gap=3)
        self.send(self.path("uneven"))
        (failed,) = self.wait_for(lambda: glob.glob(self.path("state", "failed", "[!.]*")), "the failure")
        with open(failed, encoding="utf-8") as file:
            message = json.load(file)["message"]
        self.assertIn("(0020,0032)", message)
        self.assertNotIn("Geheim", message)
        time.sleep(1)
        self.assertEqual(self.segmentations(), [])
        # The other studies go on.
        write_series(self.path("a"), "1.2.3.1", "1.2.3")
        self.send(self.path("a"))
        self.wait_for(self.segmentations, "a segmentation")

    def test_what_fails_for_a_reason_that_may_pass_is_tried_again(self):
        port = self.start_front(failures=3)
        write_series(self.path("a"), "1.2.3.1", "1.2.3")
        self.send(self.path("a"))
        # Two tries are not enough: a message, and the node goes on. The next one tries again, and has it at its second try.
        node = self.start_node("--retries", "1", "--first-wait", "0.2", port=port)
        (failed,) = self.wait_for(lambda: glob.glob(self.path("state", "failed", "[!.]*")), "the failure")
        with open(failed, encoding="utf-8") as file:
            self.assertIn("507", json.load(file)["message"])
        self.assertIn("not now, again in 0.2 s", self.read("node.log"))
        # Nobody else works on this folder meanwhile.
        other = self.start_node(log="other.log")
        self.assertEqual(other.wait(timeout=60), 1)
        self.assertIn("expected a folder on which no other node works, found one that does", self.read("other.log"))
        self.stop(node)
        self.start_node("--retries", "1", "--first-wait", "0.2", port=port)
        self.wait_for(self.done, "it is done")
        self.assertEqual(len(self.segmentations()), 1)
        self.assertEqual(glob.glob(self.path("state", "failed", "[!.]*")), [])

    def test_two_studies_at_once_and_a_restart_in_the_middle(self):
        # A program that waits, so that both are under way when the node is killed.
        slow = self.path("slow")
        with open(slow, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\necho begun >>"{self.path("begun")}"\nsleep 3\nexec "{PROGRAM}" "$@"\n')
        os.chmod(slow, 0o755)
        for number in ("1", "2"):
            write_series(self.path(number), f"1.2.{number}.1", f"1.2.{number}")
            self.send(self.path(number))
        call = [sys.executable, NODE, "orthanc", "--url", f"http://127.0.0.1:{self.http}", "--rules",
                self.path("rules.json"), "--state", self.path("state"), "--every", "0.3", "--program"]
        node = self.start(*call, slow, log="node.log")
        self.wait_for(lambda: os.path.exists(self.path("begun")) and self.read("begun").count("begun") == 2, "both began")
        self.stop(node, signal.SIGKILL)
        self.assertEqual(self.segmentations(), [])
        self.stop(self.orthanc)
        self.start_orthanc()
        self.start(*call, PROGRAM, log="node.log")
        self.wait_for(lambda: len(self.segmentations()) == 2, "both segmentations")
        self.wait_for(lambda: len(self.done()) == 2, "both are noted")
        for series in self.segmentations():
            (segmentation,) = self.files_of(series)
            self.check_same(segmentation, self.path(segmentation.StudyInstanceUID[-1]))
        self.wait_for(lambda: os.listdir(self.path("state", "work")) == [], "no more leftovers")


@unittest.skipUnless(pydicom, "needs python3-pydicom")
@unittest.skipUnless(has_dicom(), "needs the program, built with DICOM")
@unittest.skipUnless(shutil.which("storescp") and shutil.which("storescu"), "needs dcmtk's storescp and storescu")
class ThroughStorescp(Case):
    def test_a_study_arrives_and_its_segmentation_is_sent_back(self):
        inbox, archive = self.path("inbox"), self.path("archive")
        os.makedirs(inbox)
        os.makedirs(archive)
        inbox_port, archive_port = free_port(), free_port()
        self.start("storescp", "-od", archive, str(archive_port), log="archive.log")
        handler = (f'{sys.executable} {NODE} study #p --rules {self.path("rules.json")} --state {self.path("state")} '
                   f'--program {PROGRAM} --send ARCHIVE@127.0.0.1:{archive_port}')
        self.start("storescp", "-od", inbox, "--sort-on-study-uid", "study", "--eostudy-timeout", "1",
                   "--exec-on-eostudy", handler, str(inbox_port), log="inbox.log")
        write_series(self.path("a"), "1.2.3.1", "1.2.3")
        self.wait_for(lambda: subprocess.run(["storescu", "127.0.0.1", str(inbox_port), "+sd", self.path("a")],
                                             capture_output=True).returncode == 0, "the study is sent")
        (received,) = self.wait_for(lambda: glob.glob(os.path.join(archive, "*")), "a segmentation")
        self.wait_for(lambda: glob.glob(self.path("state", "done", "[!.]*")), "it is noted")
        self.check_same(pydicom.dcmread(received), self.path("a"))
        self.wait_for(lambda: os.listdir(inbox) == [], "the inbox is empty")
        self.check_no_names("inbox.log")

    def run_node(self, command, folder, port, *more):
        return subprocess.run([sys.executable, NODE, command, folder, "--rules", self.path("rules.json"), "--state",
                               self.path("state"), "--program", PROGRAM, "--send", f"ARCHIVE@127.0.0.1:{port}", *more],
                              capture_output=True, text=True)

    def test_a_study_that_fails_is_kept_and_one_that_cannot_be_sent_stays(self):
        inbox, archive, port = self.path("inbox"), self.path("archive"), free_port()
        os.makedirs(archive)
        for number in (1, 2):
            write_series(os.path.join(inbox, f"uneven{number}"), f"1.2.4.{number}", f"1.2.4{number}", gap=3)
        before = sorted(os.listdir(os.path.join(inbox, "uneven2")))
        for number in (1, 2):
            done = self.run_node("study", os.path.join(inbox, f"uneven{number}"), port, "--keep-failed", "1")
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("(0020,0032)", done.stderr)
            self.assertNotIn("uneven", done.stderr.replace("uneven distances", ""))  # folders may have patients' names
        (kept,) = os.listdir(self.path("state", "kept"))
        self.assertEqual(sorted(os.listdir(self.path("state", "kept", kept))), before)
        self.assertIn("removed, since 1 studies that failed are kept", done.stderr)
        self.assertEqual(os.listdir(inbox), [])

        # The archive is away: the slices stay, and go out when it is back.
        write_series(os.path.join(inbox, "a"), "1.2.3.1", "1.2.3")
        done = self.run_node("study", os.path.join(inbox, "a"), port, "--retries", "1", "--first-wait", "0.1")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("cannot be sent", done.stderr)
        (waiting,) = os.listdir(inbox)
        self.assertEqual(len(os.listdir(os.path.join(inbox, waiting))), 12)
        shutil.copytree(os.path.join(inbox, waiting), self.path("copy"))
        self.start("storescp", "-od", archive, str(port), log="archive.log")
        self.wait_for(lambda: subprocess.run(["echoscu", "127.0.0.1", str(port)], capture_output=True).returncode == 0, "up")
        done = self.run_node("leftovers", inbox, port)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(os.listdir(inbox), [])
        (received,) = glob.glob(os.path.join(archive, "*"))
        self.check_same(pydicom.dcmread(received), self.path("copy"))
        self.assertEqual(os.listdir(self.path("state", "work")), [])


if __name__ == "__main__":
    unittest.main()
