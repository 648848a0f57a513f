"""The scores of `e2enet evaluate` agree with a second implementation, on made volumes and on real predictions."""

import os
import subprocess
import tempfile
import unittest

import nibabel
import numpy as np

import support
from evaluate_reference import differences

PROGRAM = os.environ.get("E2ENET_PROGRAM", os.path.join(support.ROOT, "build", "release", "bin", "e2enet"))
DATA = os.path.join(support.SHARED, "data", "hippocampus", "test")
MODEL = os.path.join(support.ROOT, "models", "hippocampus_density20.safetensors")


@unittest.skipUnless(os.path.exists(PROGRAM), "needs the program: set E2ENET_PROGRAM to build/PRESET/bin/e2enet")
class Evaluate(unittest.TestCase):
    def check(self, predictions, references, tolerance=1.0):
        wrong, compared = differences(PROGRAM, predictions, references, tolerance)
        self.assertGreater(compared, 0)
        self.assertEqual(wrong, [])

    def test_blobs_at_borders_and_missing_labels_with_anisotropic_spacing(self):
        random = np.random.default_rng(20240817)
        with tempfile.TemporaryDirectory() as folder:
            folders = [os.path.join(folder, name) for name in ("predictions", "references")]
            for name in folders:
                os.mkdir(name)
            for case in range(6):
                shape = tuple(int(n) for n in random.integers(9, 24, 3))
                spacing = random.choice([0.5, 0.7, 1.0, 1.25, 3.0, 5.0], 3)
                grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
                for name in folders:
                    labels = np.zeros(shape, dtype=np.uint8)
                    for label in (1, 2, 7):
                        if random.random() < 0.2:
                            continue  # missing on this side
                        centre = random.random(3) * shape  # may lie at the border
                        radius = random.uniform(2, 6)
                        labels[((grid - centre) ** 2).sum(axis=-1) < radius**2] = label
                    image = nibabel.Nifti1Image(labels, np.diag([*spacing, 1.0]))
                    nibabel.save(image, os.path.join(name, f"case{case}.nii.gz"))
            for tolerance in (0.0, 0.7, 1.0, 3.0):
                with self.subTest(tolerance=tolerance):
                    self.check(*folders, tolerance)

    @unittest.skipUnless(os.path.isdir(DATA), "needs the shared data: set E2ENET_SHARED")
    def test_real_predictions(self):
        with tempfile.TemporaryDirectory() as folder:
            command = [PROGRAM, "segment", "-m", MODEL, "-i", os.path.join(DATA, "images"), "-o", folder, "--quiet"]
            subprocess.run(command, check=True)
            self.check(folder, os.path.join(DATA, "labels"))


if __name__ == "__main__":
    unittest.main()
