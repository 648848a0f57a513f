"""The wheel: made without network, the same bytes each time, installs into a fresh environment and works there without
anything of the build."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import unittest
import zipfile

import support
from e2enet_model_file import write_model

PROGRAM = os.environ.get("E2ENET_PROGRAM", os.path.join(support.ROOT, "build", "release", "bin", "e2enet"))
BUILD = os.path.dirname(os.path.dirname(os.path.abspath(PROGRAM)))
HERE = os.path.exists(PROGRAM) and os.path.exists(os.path.join(BUILD, "src", "libe2enet.so.0"))

WORK = """
import e2enet, json, numpy, sys
segmenter = e2enet.Segmenter(e2enet.Model.load(sys.argv[1]))
values = (numpy.arange(12 * 14 * 10).reshape(12, 14, 10) % 97).astype(numpy.int16)
found = segmenter.segment(values, spacing=(1, 1, 1))
print(json.dumps({"voxels": sum(one.voxels for one in found.statistics.values()), "file": e2enet.__file__}))
"""


@unittest.skipUnless(HERE, "needs the program and the library: set E2ENET_PROGRAM to build/PRESET/bin/e2enet")
class Wheel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.environment = {key: value for key, value in os.environ.items()
                           if not key.startswith("E2ENET_") and key != "PYTHONPATH"}
        # No proxy, no index: what asks for the network fails.
        cls.environment.update(PIP_NO_INDEX="1", PIP_DISABLE_PIP_VERSION_CHECK="1", http_proxy="http://127.0.0.1:9",
                               https_proxy="http://127.0.0.1:9")
        cls.wheel = cls.make("first")

    @classmethod
    def make(cls, name):
        folder = os.path.join(cls.folder.name, name)
        subprocess.run([sys.executable, os.path.join(support.ROOT, "python", "build_wheel.py"), folder], check=True,
                       capture_output=True, env={**cls.environment, "E2ENET_BUILD_FOLDER": BUILD})
        [wheel] = os.listdir(folder)
        return os.path.join(folder, wheel)

    def run_in(self, *arguments, **more):
        result = subprocess.run(arguments, capture_output=True, text=True, cwd=self.folder.name,
                                env={**self.environment, **more})
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout

    def venv(self, name):
        """Python of a fresh environment that has NumPy from the system."""
        path = os.path.join(self.folder.name, name)
        self.run_in(sys.executable, "-m", "venv", "--system-site-packages", path)
        return os.path.join(path, "bin", "python")

    def works(self, python):
        model = os.path.join(self.folder.name, "model.safetensors")
        write_model(model, support.random_model())
        found = json.loads(self.run_in(python, "-c", WORK, model))
        self.assertGreater(found["voxels"], 0)
        self.assertTrue(found["file"].startswith(self.folder.name))
        expected = self.run_in(PROGRAM, "--version")
        self.assertEqual(self.run_in(python, "-m", "e2enet", "--version"), expected)
        self.assertEqual(self.run_in(os.path.join(os.path.dirname(python), "e2enet"), "--version"), expected)

    def test_its_name_and_what_is_in_it(self):
        self.assertRegex(os.path.basename(self.wheel), r"^e2enet-\d+\.\d+\.\d+-py3-none-linux_\w+\.whl$")
        with zipfile.ZipFile(self.wheel) as archive:
            names = archive.namelist()
        for expected in ("e2enet/__init__.py", "e2enet/py.typed", "e2enet/lib/libe2enet.so.0", "e2enet/bin/e2enet"):
            self.assertIn(expected, names)
        self.assertFalse([name for name in names if "train" in name or "__pycache__" in name])
        self.assertFalse([name for name in names if name.startswith(("e2enet/lib/libc.so", "e2enet/lib/libstdc++"))])

    def test_it_is_the_same_bytes_each_time(self):
        digests = []
        for wheel in (self.wheel, self.make("second")):
            with open(wheel, "rb") as file:
                digests.append(hashlib.sha256(file.read()).hexdigest())
        self.assertEqual(digests[0], digests[1])

    def test_it_installs_and_works_without_the_build(self):
        python = self.venv("by_wheel")
        self.run_in(python, "-m", "pip", "install", "--no-deps", self.wheel)
        self.works(python)
        listed = self.run_in(python, "-m", "pip", "show", "--files", "e2enet")
        self.assertIn("e2enet/lib/libe2enet.so.0", listed)

    def test_pip_installs_the_folder(self):
        python = self.venv("by_folder")
        self.run_in(python, "-m", "pip", "install", "--no-deps", os.path.join(support.ROOT, "python"),
                    E2ENET_BUILD_FOLDER=BUILD)
        self.works(python)


if __name__ == "__main__":
    unittest.main()
