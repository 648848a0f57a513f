"""examples/segment_and_plot.py runs and draws a picture."""

import os
import subprocess
import sys
import tempfile
import unittest

import nibabel
import numpy as np

import support
from e2enet_model_file import write_model

PROGRAM = os.environ.get("E2ENET_PROGRAM", os.path.join(support.ROOT, "build", "release", "bin", "e2enet"))
LIBRARY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(PROGRAM))), "src", "libe2enet.so.0")


@unittest.skipUnless(os.path.exists(LIBRARY), "needs the library: set E2ENET_PROGRAM to build/PRESET/bin/e2enet")
class PlotExample(unittest.TestCase):
    def test_it_draws_a_slice(self):
        with tempfile.TemporaryDirectory() as folder:
            model, image, picture = (os.path.join(folder, name) for name in ("model", "image.nii.gz", "picture.png"))
            write_model(model, support.random_model())
            values = np.random.default_rng(1).integers(0, 100, (20, 24, 16)).astype(np.int16)
            nibabel.save(nibabel.Nifti1Image(values, np.diag([-1, 1, 2, 1])), image)
            script = os.path.join(support.ROOT, "examples", "segment_and_plot.py")
            result = subprocess.run([sys.executable, script, model, image, picture], capture_output=True, text=True,
                                    env={**os.environ, "E2ENET_LIBRARY": LIBRARY, "MPLCONFIGDIR": folder,
                                         "PYTHONPATH": os.path.join(support.ROOT, "python")})
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("mL", result.stdout)
            with open(picture, "rb") as file:
                self.assertEqual(file.read(8), b"\x89PNG\r\n\x1a\n")


if __name__ == "__main__":
    unittest.main()
