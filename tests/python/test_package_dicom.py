"""The Python package on DICOM series: the same bytes as the program's, which series, uneven slices, references."""

import os
import subprocess
import tempfile
import shutil
import json
import unittest

import numpy as np

import support
import test_package
import test_pacs

HERE = test_package.HERE and test_pacs.pydicom is not None and test_pacs.has_dicom()
if HERE:
    e2enet = test_package.e2enet
    import nibabel


@unittest.skipUnless(HERE, "needs the program and the library, built with DICOM, and python3-pydicom")
class Series(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        with open(self.path("config.json"), "w", encoding="utf-8") as file:
            json.dump({"input_channels": 1, "classes": 3, "base_features": 4, "patch_size": [8, 16, 16],
                       "pool_strides": [[1, 2, 2], [2, 2, 2]], "density": 0.5, "preprocessing": {"orientation": "RAS"}}, file)
        self.program("random", "-o", self.path("model"), "--config", self.path("config.json"), "--seed", "5")
        self.segmenter = e2enet.Segmenter(e2enet.Model.load(self.path("model")), threads=1)
        test_pacs.write_series(self.path("scan", "a"), "1.2.3.1", "1.2.3")

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def program(self, *arguments):
        subprocess.run([test_package.PROGRAM, *arguments, "--quiet"], check=True)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def test_a_series_gives_the_programs_segmentation_and_labels(self):
        self.program("segment", "-m", self.path("model"), "-i", self.path("scan"), "-o", self.path("program.dcm"))
        found = self.segmenter.segment(self.path("scan"), out=self.path("python.dcm"))
        self.assertEqual(self.read("program.dcm"), self.read("python.dcm"))
        self.assertEqual(found.labels, self.path("python.dcm"))
        array = self.segmenter.segment(self.path("scan")).labels
        self.assertEqual(array.shape, (12, 20, 18))
        self.assertEqual(np.count_nonzero(array), sum(one.voxels for one in found.statistics.values()))
        files = [self.path("scan", "a", name) for name in os.listdir(self.path("scan", "a"))]
        np.testing.assert_array_equal(self.segmenter.segment(files).labels, array)

    def test_which_series_is_meant(self):
        test_pacs.write_series(self.path("scan", "b"), "1.2.3.77", "1.2.3", slices=11)
        with self.assertRaisesRegex(e2enet.Error, "series: expected one that is a volume, or --series"):
            self.segmenter.segment(self.path("scan"))
        for series in ("1.2.3.77", ["1.2.3.77"]):
            self.assertEqual(self.segmenter.segment(self.path("scan"), series=series).labels.shape[0], 11)
        self.assertTrue(self.segmenter.forecast(self.path("scan"), series="1.2.3.1").fits)
        for wrong in (3, "4"):  # both have the number 3
            with self.assertRaisesRegex(e2enet.Error, f"the UID or number {wrong}, found"):
                self.segmenter.segment(self.path("scan"), series=wrong)
        for nonsense in (1.5, "", True, [None]):
            with self.assertRaisesRegex(e2enet.Error, "series: expected a UID or a number"):
                self.segmenter.segment(self.path("scan"), series=nonsense)
        with self.assertRaisesRegex(e2enet.Error, "series, regrid: expected neither"):
            self.segmenter.segment(np.zeros((9, 9, 9)), spacing=(1, 1, 1), series=3)

    def test_uneven_slices(self):
        test_pacs.write_series(self.path("uneven"), "1.2.4.1", "1.2.4", gap=3)
        with self.assertRaisesRegex(e2enet.Error, "--regrid"):
            self.segmenter.segment(self.path("uneven"))
        self.program("segment", "-m", self.path("model"), "-i", self.path("uneven"), "-o", self.path("program.dcm"), "--regrid")
        self.segmenter.segment(self.path("uneven"), regrid=True, out=self.path("python.dcm"))
        self.assertEqual(self.read("program.dcm"), self.read("python.dcm"))
        found = self.segmenter.segment(self.path("uneven"), regrid=True, out=self.path("python.nii"))
        self.assertTrue(any("whose distances NIfTI cannot say" in line for line in found.remarks), found.remarks)

    def test_an_array_that_was_converted_from_a_series_gets_its_segmentation(self):
        self.program("segment", "-m", self.path("model"), "-i", self.path("scan"), "-o", self.path("program.dcm"))
        # An image on the series' voxels: its values, where labels of the same call lie.
        self.program("segment", "-m", self.path("model"), "-i", self.path("scan"), "-o", self.path("place.nii"))
        place = nibabel.load(self.path("place.nii"))
        pixels = [test_pacs.pydicom.dcmread(self.path("scan", "a", f"{k:03d}")).pixel_array.T for k in range(12)]
        image = nibabel.Nifti1Image(np.stack(pixels, axis=2).astype(np.int16), place.affine)
        for reference in (self.path("scan"), (self.path("scan"), "1.2.3.1")):
            self.segmenter.segment(image, out=self.path("python.dcm"), dicom_reference=reference)
            self.assertEqual(self.read("program.dcm"), self.read("python.dcm"))
        with self.assertRaisesRegex(e2enet.Error, "dicom_reference: expected a path"):
            self.segmenter.segment(image, out=self.path("python.dcm"), dicom_reference=3)
        with self.assertRaisesRegex(e2enet.Error, "as reference"):
            self.segmenter.segment(image, out=self.path("none.dcm"))
        self.assertFalse(os.path.exists(self.path("none.dcm")))


if __name__ == "__main__":
    unittest.main()
