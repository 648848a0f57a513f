"""The committed golden sets: what the generator makes, by a reference that is the original's equal, and the trainer's too."""

import filecmp
import json
import os
import sys
import tempfile
import unittest

import nibabel
import numpy as np

import make_golden
import support
from golden_reference import Preprocessed, gaussian, tile_starts

sys.path.insert(0, os.path.join(support.ROOT, "python"))
from e2enet_train import inference, preprocess  # noqa: E402


def relative_difference(found, expected):
    return float((np.abs(found - expected) / np.maximum(1, np.abs(expected))).max())


def files_below(folder):
    return sorted(os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names)


def read_source(folder, source):
    """(channels, D, H, W) as float32, and the affine, from the NIfTI files."""
    images = []
    while os.path.exists(os.path.join(folder, f"src_{source}_{len(images):04d}.nii.gz")):
        images.append(nibabel.load(os.path.join(folder, f"src_{source}_{len(images):04d}.nii.gz")))
    data = np.stack([np.asarray(image.dataobj, np.float32).transpose(2, 1, 0) for image in images])
    return data, images[0].affine


class Files(unittest.TestCase):
    def test_the_files_are_what_the_generator_makes(self):
        with tempfile.TemporaryDirectory() as folder:
            make_golden.make(folder)
            self.assertEqual(files_below(folder), files_below(make_golden.HERE))
            for name in files_below(folder):
                with self.subTest(name=name):
                    paths = [os.path.join(where, name) for where in (folder, make_golden.HERE)]
                    if name.endswith(".npy.gz"):  # another SciPy may round otherwise
                        made, kept = (support.load(path) for path in paths)
                        self.assertEqual((made.shape, made.dtype), (kept.shape, kept.dtype))
                        np.testing.assert_allclose(made, kept, rtol=1e-5, atol=1e-5)
                    elif name.endswith(".nii.gz"):
                        made, kept = (nibabel.load(path) for path in paths)
                        np.testing.assert_array_equal(made.get_fdata(), kept.get_fdata())
                        np.testing.assert_array_equal(made.affine, kept.affine)
                    else:
                        self.assertTrue(filecmp.cmp(*paths, shallow=False))

    def test_no_label_hangs_on_rounding(self):
        for name, case in json.load(open(os.path.join(make_golden.HERE, "prep", "cases.json"), encoding="utf-8")).items():
            if "inverse" not in case:
                continue
            folder = os.path.join(make_golden.HERE, "prep")
            data, affine = read_source(folder, case["source"])
            result = Preprocessed(data, affine, case["original_spacing"], case)
            cropped, _ = result.back(support.load(os.path.join(folder, f"{name}_inv_softmax.npy.gz")))
            best = np.sort(cropped, axis=0)
            margin = best[-1] - best[-2]
            self.assertFalse(((margin > 0) & (margin < 1e-6)).any(), name)


class SecondImplementation(unittest.TestCase):
    """The trainer's preprocessing, written on its own, gives the same."""

    def test_the_trainer_gives_the_same_network_input_and_labels(self):
        folder = os.path.join(make_golden.HERE, "prep")
        with open(os.path.join(folder, "cases.json"), encoding="utf-8") as file:
            cases = json.load(file)
        compared = 0
        for name, case in cases.items():
            if case["orientation"] or case["scheme"] == "CT2":  # other functions of the trainer; a scheme it does not have
                continue
            with self.subTest(name=name):
                compared += 1
                data, _ = read_source(folder, case["source"])
                normalization = [{"scheme": case["scheme"], "use_mask": case["use_mask_for_norm"]} for _ in data]
                for entry, values in zip(normalization, case["intensityproperties"] or []):
                    entry.update(clip=[values["percentile_00_5"], values["percentile_99_5"]], mean=values["mean"],
                                 sd=values["sd"])
                preprocessing = {"spacing": case["target_spacing_transposed_frame"], "normalization": normalization,
                                 "transpose_forward": case["transpose_forward"], "orientation": None}
                volume = preprocess.Volume(data, tuple(case["original_spacing"]), "RAS")
                found, _, geometry = preprocess.preprocess(volume, preprocessing)
                kind = "resampled" if case["scheme"] == "noNorm" else "normalised"
                expected = support.load(os.path.join(folder, f"{name}_{kind}.npy.gz"))
                self.assertEqual(found.shape, expected.shape)
                self.assertLess(relative_difference(found, expected), 1e-5)
                # The trainer does not ask in the image's order which axis is apart (golden_reference.py, back).
                if "inverse" in case and name != "to_thick_transposed":
                    softmax = support.load(os.path.join(folder, f"{name}_inv_softmax.npy.gz"))
                    labels = preprocess.labels_to_volume(softmax, geometry, preprocessing)
                    np.testing.assert_array_equal(labels, support.load(os.path.join(folder, f"{name}_inv_label.npy.gz")))
        self.assertGreaterEqual(compared, 14)

    def test_the_trainers_tiles_are_the_same(self):
        for size, patch, step in ((110, 64, 0.5), (65, 64, 0.5), (18, 10, 0.3), (161, 64, 0.75), (11, 4, 0.5), (9, 9, 0.5)):
            self.assertEqual(tile_starts(size, patch, step), inference.tile_starts(size, patch, step))
        difference = np.abs(gaussian((8, 16, 12)) - inference.gaussian_weight((8, 16, 12)).numpy())
        self.assertLess(float(difference.max()), 1e-7)


@unittest.skipUnless(os.path.isdir(support.GOLDEN), support.NEEDS_GOLDEN)
class Original(unittest.TestCase):
    """The reference that the sets are made with gives the original implementation's own vectors."""

    def test_every_case_of_the_original(self):
        folder = os.path.join(support.GOLDEN, "prep")
        with open(os.path.join(folder, "cases.json"), encoding="utf-8") as file:
            cases = json.load(file)
        for name, case in cases.items():
            with self.subTest(name=name):
                data, affine = read_source(folder, case["source"])
                result = Preprocessed(data, affine, case["original_spacing"], case)
                self.assertEqual([[part.start, part.stop] for part in result.box], case["crop_bbox"])
                self.assertEqual(result.shape, case["size_after_resampling"][1:])
                seg = support.load(os.path.join(folder, f"{name}_seg_resampled.npy.gz"))
                np.testing.assert_array_equal(result.inside.astype(int) - 1, seg.reshape(result.shape))
                for kind, found in (("resampled", result.resampled), ("normalised", result.normalised)):
                    path = os.path.join(folder, f"{name}_{kind}.npy.gz")
                    if os.path.exists(path):
                        every = case[f"{kind}_saved_every"]
                        self.assertLess(relative_difference(found[:, ::every, ::every, ::every], support.load(path)), 1e-5)
                if "inverse" in case:
                    cropped, labels = result.back(support.load(os.path.join(folder, f"{name}_inv_softmax.npy.gz")))
                    every = case["inverse"]["prob1_saved_every"]
                    prob1 = support.load(os.path.join(folder, f"{name}_inv_prob1.npy.gz"))
                    self.assertLess(relative_difference(cropped[1, ::every, ::every, ::every], prob1), 1e-5)
                    np.testing.assert_array_equal(labels, support.load(os.path.join(folder, f"{name}_inv_label.npy.gz")))

    def test_the_gaussian_of_the_original(self):
        expected = support.load(os.path.join(support.GOLDEN, "slide", "gaussian_16x64x64.npy.gz"))
        self.assertLess(float((np.abs(gaussian((16, 64, 64)) / expected - 1)).max()), 2e-7)


if __name__ == "__main__":
    unittest.main()
