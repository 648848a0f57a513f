"""Segmentations in a real viewer: series and segmentation go into an Orthanc, the OHIF viewer shows the study in headless
Chromium, and the labels that it has on each slice are those that the program wrote."""

import json
import os
import shutil
import subprocess
import unittest

import numpy as np

import support
import test_pacs

try:
    import nibabel
    import pydicom
except ImportError:
    pydicom = None

CHROMIUM = shutil.which("chromium")
PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
NPM = os.path.join(support.ROOT, "build", "npm")


@unittest.skipUnless(pydicom, "needs python3-pydicom and python3-nibabel")
@unittest.skipUnless(test_pacs.has_dicom(), "needs the program, built with DICOM")
@unittest.skipUnless(os.path.exists(test_pacs.ORTHANC) and os.path.exists(PLUGIN), "needs orthanc and orthanc-dicomweb")
@unittest.skipUnless(CHROMIUM and shutil.which("node"), "needs chromium and Node.js")
@unittest.skipUnless(os.path.isdir(os.path.join(NPM, "ohif")) and os.path.isdir(
    os.path.join(NPM, "node_modules", "playwright-core")), "needs what scripts/install_viewer.sh gets")
class InViewer(test_pacs.OrthancCase):
    PLUGINS = [PLUGIN]

    def test_the_viewer_has_the_labels_that_were_written_on_the_slices_that_came_in(self):
        study, series = "1.2.3", self.path("a")
        # OHIF 3.13 takes no segmentation whose pixels end with the byte that makes their number even.
        test_pacs.write_series(series, "1.2.3.1", study, rows=32, columns=16)
        for name in ("labels.dcm", "labels.nii"):
            subprocess.run([test_pacs.PROGRAM, "segment", "-m", self.path("model.safetensors"), "-i", series, "-o",
                            self.path(name), "--quiet"], check=True)
        self.send(series)
        subprocess.run(["storescu", "--required", "-aec", "TEST", "127.0.0.1", str(self.dicom), self.path("labels.dcm")],
                       check=True)
        segmentation = pydicom.dcmread(self.path("labels.dcm"))
        with open(self.path("look.json"), "w", encoding="utf-8") as file:
            json.dump({"modules": os.path.join(NPM, "node_modules"), "viewer": os.path.join(NPM, "ohif"),
                       "chromium": CHROMIUM, "orthanc": f"http://127.0.0.1:{self.http}", "study": study,
                       "segmentation": segmentation.SeriesInstanceUID, "labels": self.path("viewer.json"),
                       "seconds": 120}, file)
        done = subprocess.run(["node", os.path.join(support.ROOT, "tests", "viewer", "look.cjs"), self.path("look.json")],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(self.path("viewer.json"), encoding="utf-8") as file:
            seen = json.load(file)
        names = {str(item.SegmentNumber): item.SegmentLabel for item in segmentation.SegmentSequence}
        self.assertEqual(seen["names"], names)
        # (i, j, k) of the image that the same call writes: column, row, slice, ascending along the normal, as written.
        expected = np.asarray(nibabel.load(self.path("labels.nii")).dataobj)
        self.assertEqual(set(np.unique(expected)) - {0}, {int(number) for number in names})
        slices = {one["instance"]: np.reshape(one["labels"], (one["rows"], one["columns"])) for one in seen["slices"]}
        self.assertEqual(len(slices), expected.shape[2])
        for k in range(expected.shape[2]):
            np.testing.assert_array_equal(slices[f"1.2.3.1.{k + 1}"], expected[:, :, k].T)


if __name__ == "__main__":
    unittest.main()
