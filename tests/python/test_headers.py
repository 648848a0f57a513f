"""Peculiar NIfTI headers: the program reads what nibabel reads, or says what it does instead."""

import itertools
import json
import os
import struct
import subprocess
import tempfile
import unittest

import nibabel
import numpy as np

import support
from e2enet_model_file import write_model

PROGRAM = os.environ.get("E2ENET_PROGRAM", os.path.join(support.ROOT, "build", "release", "bin", "e2enet"))
BITPIX, PIXDIM, VOX_OFFSET, UNITS = 72, 76, 108, 123
QFORM_CODE, SFORM_CODE, QUATERNION, SROWS, DIM = 252, 254, 256, 280, 40
NOT_TOLD = "does not tell how it lies"


def oblique():
    """A rotation about all axes, voxels of 2 x 3 x 4 mm, i to the left."""
    turns = np.eye(3)
    for axis, angle in ((0, 0.2), (1, -0.15), (2, 0.3)):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        turns = turns @ turn
    affine = np.eye(4)
    affine[:3, :3] = turns * np.array([-2.0, 3.0, 4.0])
    affine[:3, 3] = 10, -20, 30
    return affine


@unittest.skipUnless(os.path.exists(PROGRAM), "needs the program: set E2ENET_PROGRAM to build/PRESET/bin/e2enet")
class Headers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.model = os.path.join(cls.folder.name, "model.safetensors")
        # Nothing is done to the voxels: `preprocess` writes what was read.
        write_model(cls.model, support.random_model(preprocessing={"normalization": [{"scheme": "noNorm"}]}))
        cls.path = os.path.join(cls.folder.name, "x.nii")
        cls.values = np.random.default_rng(1).integers(1, 1000, (6, 7, 8)).astype(np.float32)
        image = nibabel.Nifti1Image(cls.values, oblique())
        image.header.set_xyzt_units("mm")
        image.set_sform(oblique(), 2)
        image.set_qform(oblique(), 1)
        nibabel.save(image, cls.path)
        with open(cls.path, "rb") as file:
            cls.good = file.read()

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def write(self, *changes):
        """Changes are (place, format, values...)."""
        data = bytearray(self.good)
        for at, form, *values in changes:
            struct.pack_into("<" + form, data, at, *values)
        with open(self.path, "wb") as file:
            file.write(data)

    def run_program(self, *arguments):
        return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)

    def read(self):
        """What the program makes of the file: voxels as (i, j, k), its geometry, its remarks."""
        array, labels = (os.path.join(self.folder.name, name) for name in ("x.npy", "labels.nii"))
        prepared = self.run_program("preprocess", "-q", "-m", self.model, "-i", self.path, "-o", array)
        self.assertEqual(prepared.returncode, 0, prepared.stderr)
        said = self.run_program("segment", "-m", self.model, "-i", self.path, "-o", labels, "--dry-run", "--json")
        self.assertEqual(said.returncode, 0, said.stderr)
        said = json.loads(said.stdout)
        return np.load(array)[0].transpose(2, 1, 0), said["geometry"], " / ".join(said["remarks"])

    def check_as_nibabel(self, remark=None, matrix="sform", affine=None):
        image = nibabel.load(self.path)
        voxels, geometry, remarks = self.read()
        expected = np.asarray(image.dataobj)
        np.testing.assert_array_equal(voxels, expected.reshape(expected.shape[:3]))
        np.testing.assert_allclose(geometry["affine"], image.affine if affine is None else affine, atol=1e-5)
        np.testing.assert_allclose(geometry["spacing"], image.header.get_zooms()[:3], rtol=1e-6)
        self.assertEqual(geometry["shape"], list(image.shape[:3]))
        self.assertEqual(geometry["matrix"], matrix)
        if remark is None:
            self.assertEqual(remarks, "")
        else:
            self.assertIn(remark, remarks)
            self.assertIn(self.path, remarks)

    def test_a_good_header_and_what_others_read_in_one_way(self):
        for name, changes, remark, matrix in (
                ("good", (), None, "sform"),
                ("qform alone", ((SFORM_CODE, "h", 0),), None, "qform"),
                ("sform alone", ((QFORM_CODE, "h", 0),), None, "sform"),
                ("bitpix 16 for float32", ((BITPIX, "h", 16),), "bitpix is 16", "sform"),
                ("bitpix 0", ((BITPIX, "h", 0),), "bitpix is 0", "sform"),
                ("negative pixdim, sform", ((PIXDIM + 4, "f", -2),), "pixdim[1] is -2", "sform"),
                ("negative pixdim, qform", ((PIXDIM + 4, "fff", -2, -3, -4), (SFORM_CODE, "h", 0)), "pixdim[3] is -4",
                 "qform"),
                ("one volume of 4D", ((DIM, "h", 4),), None, "sform"),
                ("qfac 0, sform", ((PIXDIM, "f", 0), (QFORM_CODE, "h", 0)), None, "sform"),
                ("bad qform beside a good sform", ((QUATERNION, "f", 1.5),), "its qform cannot be used", "sform"),
                ("other qform", ((QUATERNION, "fff", 0, 0, 0), (PIXDIM, "f", 1)), "sform and qform differ", "sform"),
        ):
            with self.subTest(name):
                self.write(*changes)
                self.check_as_nibabel(remark, matrix)

    def test_what_nibabel_reads_with_an_affine_that_is_none(self):
        # nibabel gives the matrix of zeros, of which no orientation can be read.
        for bad in (0.0, float("nan")):
            with self.subTest(bad=bad):
                self.write((SROWS, "12f", *[bad] * 12))
                self.check_as_nibabel("its sform cannot be used", "qform", oblique())
                self.write((SROWS, "12f", *[bad] * 12), (QFORM_CODE, "h", 0))
                refused = self.run_program("preprocess", "-m", self.model, "-i", self.path, "-o", self.path + ".npy")
                self.assertEqual(refused.returncode, 1)
                self.assertIn("sform: expected a usable matrix", refused.stderr)

    def test_no_codes_are_method_1_of_nifti(self):
        # nibabel flips the first axis and moves the origin there, which the header does not say.
        self.write((QFORM_CODE, "hh", 0, 0))
        self.check_as_nibabel(NOT_TOLD, "spacing", np.diag([2.0, 3.0, 4.0, 1.0]))
        self.write((QFORM_CODE, "hh", -1, -1))
        self.check_as_nibabel(NOT_TOLD, "spacing", np.diag([2.0, 3.0, 4.0, 1.0]))

    def test_sizes_of_zero_after_the_third_are_one(self):
        # nibabel gives an array without elements.
        for dimensions in (4, 5, 7):
            with self.subTest(dimensions=dimensions):
                self.write((DIM, "h", dimensions), *[(DIM + 2 * axis, "h", 0) for axis in range(4, dimensions + 1)])
                voxels, geometry, remarks = self.read()
                np.testing.assert_array_equal(voxels, self.values)
                self.assertEqual(geometry["shape"], [6, 7, 8])
                self.assertIn("dim[4] is 0", remarks)

    def test_a_voxel_offset_of_zero_is_the_end_of_the_header(self):
        # nibabel takes the header's own bytes for voxels.
        self.write((VOX_OFFSET, "f", 0))
        voxels, geometry, remarks = self.read()
        np.testing.assert_array_equal(voxels, self.values)
        np.testing.assert_allclose(geometry["affine"], oblique(), atol=1e-5)
        self.assertIn("vox_offset is 0", remarks)

    def test_what_has_two_meanings_is_refused(self):
        for field, changes in (
                ("pixdim[3]", ((PIXDIM + 12, "f", 0),)),
                ("pixdim[1]", ((PIXDIM + 4, "f", float("nan")),)),
                ("pixdim[0]", ((PIXDIM, "f", -2), (SFORM_CODE, "h", 0))),
                ("sform_code", ((SFORM_CODE, "h", 9),)),
                ("vox_offset", ((VOX_OFFSET, "f", 0), (348, "b", 1))),
        ):
            with self.subTest(field):
                self.write(*changes)
                refused = self.run_program("preprocess", "-m", self.model, "-i", self.path, "-o", self.path + ".npy")
                self.assertEqual(refused.returncode, 1)
                self.assertIn(f"{self.path}: {field}: expected", refused.stderr)

    def test_the_rule_of_orientation_for_any_matrix(self):
        # docs/volumes.md: of the six ways to pair axes, the largest sum of cosines.
        random = np.random.default_rng(7)
        labels = os.path.join(self.folder.name, "labels.nii")
        for number in range(40):
            matrix = np.eye(4)
            matrix[:3, :3] = random.normal(size=(3, 3))
            if number % 2:
                matrix[:3, :3] = np.linalg.qr(matrix[:3, :3])[0]
            matrix[:3, :3] *= np.array([2, 3, 4]) / np.linalg.norm(matrix[:3, :3], axis=0)
            cosines = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
            order = max(itertools.permutations(range(3)),
                        key=lambda order: sum(abs(cosines[order[axis], axis]) for axis in range(3)))
            letters = "".join(("LPI" if cosines[order[axis], axis] < 0 else "RAS")[order[axis]] for axis in range(3))
            with self.subTest(number=number):
                self.write((SROWS, "12f", *matrix[:3].ravel()))
                said = self.run_program("segment", "-m", self.model, "-i", self.path, "-o", labels, "--dry-run", "--json")
                self.assertEqual(json.loads(said.stdout)["geometry"]["orientation"], letters)

    def test_units_are_applied_to_spacing_and_matrix(self):
        self.write((UNITS, "B", 1), (PIXDIM + 4, "fff", 0.002, 0.003, 0.004), (SROWS, "12f", *(oblique()[:3] / 1000).ravel()))
        _, geometry, remarks = self.read()
        np.testing.assert_allclose(geometry["affine"], oblique(), atol=1e-4)
        np.testing.assert_allclose(geometry["spacing"], [2, 3, 4], rtol=1e-6)
        self.write((UNITS, "B", 1))
        refused = self.run_program("preprocess", "-m", self.model, "-i", self.path, "-o", self.path + ".npy")
        self.assertIn("2000 mm along i", refused.stderr)


if __name__ == "__main__":
    unittest.main()
