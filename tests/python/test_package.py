"""The Python package e2enet: the program's labels from whatever callers have as images, without copies of it; errors,
signals, threads."""

import ctypes
import inspect
import itertools
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import types
import typing
import unittest
from unittest import mock

import nibabel
import numpy as np

import support
from e2enet_model_file import write_model

PROGRAM = os.environ.get("E2ENET_PROGRAM", os.path.join(support.ROOT, "build", "release", "bin", "e2enet"))
BUILD = os.path.dirname(os.path.dirname(os.path.abspath(PROGRAM)))
LIBRARY = os.path.join(BUILD, "src", "libe2enet.so.0")
HERE = os.path.exists(PROGRAM) and os.path.exists(LIBRARY)
if HERE:
    os.environ.setdefault("E2ENET_LIBRARY", LIBRARY)
    import e2enet
    from e2enet import _images, _library

SHAPE = (20, 26, 22)  # D, H, W
AFFINE = np.array([[-1.2, 0, 0.2, 3], [0, 1.5, 0, -4], [0.12, 0, 2, 5], [0, 0, 0, 1.0]])  # oblique, at right angles


def volume(seed=0, shape=SHAPE):
    """Smooth structure and noise, whole numbers from -500 to 500, zero near the border."""
    generator = np.random.default_rng(seed)
    d, h, w = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    smooth = 200 * np.sin(0.3 * d) + 150 * np.cos(0.2 * h) * np.sin(0.25 * w)
    values = np.round(smooth + 60 * generator.standard_normal(shape)).clip(-500, 500).astype(np.int16)
    values[:, :2] = 0
    return values


def peak_of(script, *arguments):
    """What a script in a process of its own prints as JSON."""
    head = f"import sys\nsys.path.insert(0, {os.path.join(support.ROOT, 'python')!r})\nimport e2enet, json, numpy as np\n"
    result = subprocess.run([sys.executable, "-c", head + textwrap.dedent(script), *arguments], capture_output=True, text=True,
                            env={**os.environ, "E2ENET_LIBRARY": LIBRARY})
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    return json.loads(result.stdout)


@unittest.skipUnless(HERE, "needs the program and the library: set E2ENET_PROGRAM to build/PRESET/bin/e2enet")
class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.model_path = cls.file("model.safetensors")
        write_model(cls.model_path, support.random_model(patch_size=[8, 16, 16], labels={"0": "background", "1": "left thing", "2": "right thing"}))
        cls.two_path = cls.file("two.safetensors")
        write_model(cls.two_path, support.random_model(seed=1, input_channels=2, patch_size=[8, 16, 16]))
        cls.model = e2enet.Model.load(cls.model_path)
        cls.segmenter = e2enet.Segmenter(cls.model, threads=2)
        cls.values = volume()
        cls.image_path = cls.file("image.nii.gz")
        image = nibabel.Nifti1Image(cls.values.T, AFFINE)
        image.header.set_xyzt_units("mm")
        nibabel.save(image, cls.image_path)
        cls.spacing = tuple(float(zoom) for zoom in image.header.get_zooms()[::-1])
        cls.labels = cls.by_program("-i", cls.image_path)
        assert len(np.unique(cls.labels)) == 3  # all classes: that labels agree says something

    @classmethod
    def file(cls, name):
        return os.path.join(cls.folder.name, name)

    @classmethod
    def by_program(cls, *arguments, model=None, order=(2, 1, 0)):
        """Labels (D, H, W) that the program writes."""
        output = cls.file("program.nii.gz")
        subprocess.run([PROGRAM, "segment", "-q", "-m", model or cls.model_path, "-o", output, *arguments], check=True)
        return np.asarray(nibabel.load(output).dataobj).transpose(order)

    def segment_array(self, array, **how):
        return self.segmenter.segment(array, spacing=self.spacing, affine=AFFINE, **how)

    def refused(self, code, text, function, *arguments, **how):
        with self.assertRaises(e2enet.Error) as caught:
            function(*arguments, **how)
        self.assertEqual(caught.exception.code, code)
        self.assertIn(text, str(caught.exception))
        self.assertEqual(len(str(caught.exception).splitlines()), 1)

    # Labels from everything.

    def test_a_file_gives_the_labels_of_the_program(self):
        found = self.segmenter.segment(self.image_path)
        np.testing.assert_array_equal(found.labels, self.labels)
        self.assertEqual(found.labels.dtype, np.uint16)
        np.testing.assert_array_equal(self.segmenter.segment(self.image_path, axes="ijk").labels, self.labels.T)

    def test_labels_written_to_a_file_are_the_bytes_of_the_program(self):
        output = self.file("python.nii.gz")
        found = self.segmenter.segment(self.image_path, out=output, preview=self.file("p.png"),
                                       probabilities=self.file("probabilities.nii.gz"))
        self.assertEqual(found.labels, output)
        self.by_program("-i", self.image_path, "--probabilities", self.file("other.nii.gz"), "--preview", self.file("o.png"))
        for one, other in (("python.nii.gz", "program.nii.gz"), ("probabilities.nii.gz", "other.nii.gz"), ("p.png", "o.png")):
            with open(self.file(one), "rb") as a, open(self.file(other), "rb") as b:
                self.assertEqual(a.read(), b.read(), one)

    def test_arrays_of_every_type_and_order(self):
        types_ = ["int16", "int32", "int64", "float32", "float64", ">i2", ">f8", "float16", "longdouble"]
        for kind, order in itertools.product(types_, "CF"):
            with self.subTest(kind=kind, order=order):
                array = np.array(self.values.astype(kind), order=order)
                np.testing.assert_array_equal(self.segment_array(array).labels, self.labels)
        unsigned = np.abs(self.values)
        expected = self.segment_array(unsigned).labels
        for kind in ("uint16", "uint32", "uint64"):
            np.testing.assert_array_equal(self.segment_array(unsigned.astype(kind)).labels, expected)
        for kind in ("uint8", "int8", "bool"):
            array = (unsigned % 100).astype(kind)
            np.testing.assert_array_equal(self.segment_array(array).labels, self.segment_array(array.astype("f8")).labels)

    def test_arrays_that_are_views_of_others(self):
        every_second = np.zeros(tuple(2 * n for n in SHAPE), np.int16)[::2, ::2, ::2]
        every_second[...] = self.values
        turned = np.ascontiguousarray(self.values[::-1, :, ::-1])[::-1, :, ::-1]
        unaligned = np.frombuffer(b"\0" + self.values.tobytes(), np.int16, offset=1).reshape(SHAPE)
        unaligned.flags.writeable = False
        masked = np.ma.array(self.values)
        for array in (every_second, turned, unaligned, masked):
            np.testing.assert_array_equal(self.segment_array(array).labels, self.labels)
        one_value = np.broadcast_to(np.int16(7), SHAPE)  # all strides are 0
        np.testing.assert_array_equal(self.segment_array(one_value).labels,
                                      self.segment_array(np.array(one_value)).labels)

    def test_arrays_in_the_order_of_nibabel(self):
        for order in "CF":
            found = self.segmenter.segment(np.array(self.values.T, order=order), spacing=self.spacing[::-1], affine=AFFINE,
                                           axes="ijk")
            np.testing.assert_array_equal(found.labels, self.labels.T)
            self.assertEqual(found.spacing, self.spacing[::-1])

    def test_an_affine_alone_gives_the_spacing_and_a_spacing_alone_an_affine(self):
        found = self.segmenter.segment(self.values, affine=AFFINE)
        np.testing.assert_allclose(found.spacing, np.linalg.norm(AFFINE[:3, :3], axis=0)[::-1])
        found = self.segmenter.segment(self.values, spacing=(2, 1.5, 1.2))
        np.testing.assert_array_equal(found.affine, np.diag([1.2, 1.5, 2, 1]))

    def test_images_of_nibabel(self):
        for image in (nibabel.load(self.image_path), nibabel.Nifti1Image(self.values.T, AFFINE),
                      nibabel.Nifti2Image(self.values.T.astype(np.float64), AFFINE),
                      nibabel.MGHImage(self.values.T.astype(np.float32), AFFINE)):
            found = self.segmenter.segment(image, probabilities=True)
            self.assertIs(type(found.labels), type(image))
            np.testing.assert_array_equal(np.asarray(found.labels.dataobj).T, self.labels)
            np.testing.assert_array_equal(found.labels.affine, image.affine)
            self.assertEqual(found.labels.get_data_dtype(), np.uint8)
            self.assertEqual(found.probabilities.shape, (*SHAPE[::-1], 3))
        nibabel.save(found.labels, self.file("from_python.mgz"))

    def test_a_scaled_file_through_nibabel_and_one_in_metres(self):
        image = nibabel.Nifti1Image(self.values.T, AFFINE)
        image.header.set_slope_inter(0.5, 10)
        path = self.file("scaled.nii")
        nibabel.save(image, path)
        found = self.segmenter.segment(nibabel.load(path))
        np.testing.assert_array_equal(np.asarray(found.labels.dataobj).T, self.segmenter.segment(path).labels)
        metres = nibabel.Nifti1Image(self.values.T, np.diag([0.001, 0.001, 0.001, 1]) @ AFFINE)
        metres.header.set_xyzt_units("meter")
        nibabel.save(metres, path)
        by_path, by_nibabel = self.segmenter.segment(path), self.segmenter.segment(nibabel.load(path))
        np.testing.assert_array_equal(np.asarray(by_nibabel.labels.dataobj).T, by_path.labels)
        self.assertAlmostEqual(by_nibabel.statistics[1].ml, by_path.statistics[1].ml, places=4)

    def test_images_of_simpleitk(self):
        itk = simpleitk()
        with mock.patch.dict(sys.modules, {"SimpleITK": itk}):
            image = itk.GetImageFromArray(self.values)
            lps = np.diag([-1, -1, 1, 1]) @ AFFINE
            spacing = np.linalg.norm(lps[:3, :3], axis=0)
            image.SetSpacing([float(size) for size in spacing])
            image.SetOrigin([float(at) for at in lps[:3, 3]])
            image.SetDirection([float(one) for one in (lps[:3, :3] / spacing).ravel()])
            found = self.segmenter.segment(image, box=((2, 20), (3, 24), (1, 18)))
            self.assertIs(type(found.labels), type(image))
            np.testing.assert_array_equal(itk.GetArrayViewFromImage(found.labels),
                                          self.by_program("-i", self.image_path, "--roi", "2:20,3:24,1:18"))
            np.testing.assert_allclose(found.labels.GetOrigin(), image.GetOrigin())
            np.testing.assert_allclose(found.affine, AFFINE, atol=1e-12)
            self.assertEqual(found.spacing, tuple(image.GetSpacing()))

    def test_several_channels(self):
        other = volume(seed=5)
        second = self.file("second.nii.gz")
        nibabel.save(nibabel.Nifti1Image(other.T, AFFINE), second)
        segmenter = e2enet.Segmenter(e2enet.Model.load(self.two_path))
        expected = self.by_program("-i", self.image_path, second, model=self.two_path)
        both = np.stack([self.values, other])
        where = {"spacing": self.spacing, "affine": AFFINE}
        for image, how in (([self.image_path, second], {}), ([self.values, other.astype(np.float64)], where), (both, where)):
            np.testing.assert_array_equal(segmenter.segment(image, **how).labels, expected)
        last = np.moveaxis(both, 0, -1).transpose(2, 1, 0, 3)
        for image in (nibabel.Nifti1Image(last, AFFINE),
                      [nibabel.Nifti1Image(self.values.T, AFFINE), nibabel.load(second)]):
            np.testing.assert_array_equal(np.asarray(segmenter.segment(image).labels.dataobj).T, expected)
        self.refused(e2enet.ErrorCode.INVALID_IMAGE, "channels", segmenter.segment, self.image_path)
        self.refused(e2enet.ErrorCode.INVALID_ARGUMENT, "affine", segmenter.segment,
                     [nibabel.load(second), nibabel.Nifti1Image(self.values.T, np.eye(4))])

    # What else comes out.

    def test_the_caller_s_own_arrays(self):
        c, fortran = np.empty(SHAPE, np.uint16), np.empty(SHAPE, np.uint16, order="F")
        small, wide = np.empty(SHAPE, np.uint8), np.zeros(SHAPE, np.int64)
        part = np.zeros((SHAPE[0], SHAPE[1], 2 * SHAPE[2]), np.uint16)[..., ::2]
        for out in (c, fortran, small, wide, part):
            self.assertIs(self.segment_array(self.values, out=out).labels, out)
            np.testing.assert_array_equal(out, self.labels)
        nifti = np.empty(SHAPE[::-1], np.uint16)
        self.assertIs(self.segmenter.segment(self.image_path, axes="ijk", out=nifti).labels, nifti)
        np.testing.assert_array_equal(nifti.T, self.labels)
        code = e2enet.ErrorCode.INVALID_ARGUMENT
        for out in (np.empty(SHAPE, np.float32), np.empty((3, 3, 3), np.uint16), np.broadcast_to(np.uint16(0), SHAPE), 5):
            self.refused(code, "out:", self.segment_array, self.values, out=out)

    def test_probabilities(self):
        expected = self.segmenter.segment(self.image_path, probabilities=True).probabilities
        self.assertEqual(expected.shape, (3, *SHAPE))
        np.testing.assert_array_equal(expected.argmax(axis=0), self.labels)
        np.testing.assert_allclose(expected.sum(axis=0), 1, atol=1e-5)
        own = np.empty((3, *SHAPE), np.float32)
        self.assertIs(self.segment_array(self.values, probabilities=own).probabilities, own)
        np.testing.assert_array_equal(own, expected)
        own = np.empty((*SHAPE[::-1], 3), np.float32, order="F")
        self.segmenter.segment(nibabel.load(self.image_path), probabilities=own)
        np.testing.assert_array_equal(own.T, expected)
        self.assertIsNone(self.segment_array(self.values).probabilities)
        for wrong in (np.empty((3, *SHAPE), np.float64), np.empty(SHAPE, np.float32), np.empty((6, *SHAPE), np.float32)[::2]):
            self.refused(e2enet.ErrorCode.INVALID_ARGUMENT, "probabilities:", self.segment_array, self.values,
                         probabilities=wrong)

    def test_a_box_is_the_program_s_roi(self):
        expected = self.by_program("-i", self.image_path, "--roi", "2:20,3:24,1:18")
        found = self.segment_array(self.values, box=((1, 18), (3, 24), (2, 20)))
        np.testing.assert_array_equal(found.labels, expected)
        found = self.segmenter.segment(nibabel.load(self.image_path), box=((2, 20), (3, 24), (1, 18)))
        np.testing.assert_array_equal(np.asarray(found.labels.dataobj).T, expected)
        for wrong in (((0, 5), (0, 5)), ((0, 5), (0, 5), 7), ((0, 5), (0, 5), (0, 5.5))):
            self.refused(e2enet.ErrorCode.INVALID_ARGUMENT, "box:", self.segment_array, self.values, box=wrong)
        self.refused(e2enet.ErrorCode.INVALID_ARGUMENT, "box", self.segment_array, self.values, box=((0, 5), (0, 5), (0, 500)))

    def test_statistics_are_the_program_s(self):
        text = subprocess.run([PROGRAM, "segment", "-m", self.model_path, "-i", self.image_path, "-o", self.file("s.nii"),
                               "--statistics", self.file("s.json"), "--json"], check=True, capture_output=True).stdout
        said = json.loads(text)
        found = self.segmenter.segment(self.image_path, mean_intensities=True)
        self.assertEqual({str(value): (one.name, one.voxels, one.ml, one.mean_intensity[0])
                          for value, one in found.statistics.items()},
                         {value: (one["name"], one["voxels"], one["ml"], one["mean_intensity"])
                          for value, one in said["labels"].items()})
        self.assertEqual(found.asymmetry, said["asymmetry"])
        self.assertEqual(found.remarks, said["remarks"])
        self.assertFalse(found.empty_image)
        self.assertIsNone(self.segmenter.segment(self.image_path).statistics[1].mean_intensity)
        self.assertIn("left thing", repr(found))
        empty = self.segment_array(np.zeros(SHAPE, np.int16))
        self.assertTrue(empty.empty_image)
        self.assertFalse(empty.labels.any())

    def test_options_are_the_program_s(self):
        for how, arguments in (({"mirror": True}, ["--tta"]), ({"step": 1}, ["--step", "1"]),
                               ({"largest_component": "all"}, ["--largest-component"]),
                               ({"precision": "bf16"}, ["--precision", "bf16"])):
            model = e2enet.Model.load(self.model_path)
            found = e2enet.Segmenter(model, threads=1, **how).segment(self.image_path)
            np.testing.assert_array_equal(found.labels, self.by_program("-i", self.image_path, *arguments), str(how))

    def test_a_forecast_and_a_limit(self):
        forecast = self.segmenter.forecast(self.image_path)
        self.assertTrue(forecast.fits)
        self.assertGreater(forecast.runs, 1)
        self.assertGreater(forecast.seconds, 0)
        small = e2enet.Segmenter(self.model, memory="1M")
        forecast = small.forecast(self.values, spacing=self.spacing)
        self.assertFalse(forecast.fits)
        self.assertGreater(forecast.smallest_limit_bytes, 1 << 20)
        self.refused(e2enet.ErrorCode.MEMORY_LIMIT, "limit", small.segment, self.image_path)
        for wrong in ("much", "0G", -5, 0, "12X", 1.5):
            self.refused(e2enet.ErrorCode.INVALID_ARGUMENT, "memory:", e2enet.Segmenter, self.model, memory=wrong)

    def test_scores_are_the_program_s(self):
        reference = self.file("reference.nii.gz")
        nibabel.save(nibabel.Nifti1Image(np.roll(self.labels, 1, axis=2).astype(np.uint8).T, AFFINE), reference)
        prediction = self.file("scored.nii.gz")
        self.segmenter.segment(self.image_path, out=prediction)
        text = subprocess.run([PROGRAM, "evaluate", "-p", prediction, "-r", reference, "--json"], check=True,
                              capture_output=True).stdout
        expected = json.loads(text)["cases"][0]["labels"]
        shifted = np.roll(self.labels, 1, axis=2)
        by_files = e2enet.evaluate(prediction, reference)
        by_images = e2enet.evaluate(nibabel.load(prediction), nibabel.load(reference))
        by_arrays = e2enet.evaluate(self.labels.astype(np.float64), shifted, spacing=self.spacing)
        for found in (by_files, by_images, by_arrays):
            self.assertEqual(sorted(found), [1, 2])
            for label, one in found.items():
                for key in ("dice", "nsd", "hd95", "prediction_voxels"):
                    self.assertAlmostEqual(getattr(one, key), expected[str(label)][key], places=6, msg=key)
        self.assertEqual(by_files.remarks, [])
        only = e2enet.evaluate(self.labels, np.where(self.labels == 1, 1, 0), spacing=self.spacing, labels=[2, 9])
        self.assertEqual(only[2].hd95, float("inf"))
        self.assertIsNone(only[9].dice)
        code = e2enet.ErrorCode.INVALID_ARGUMENT
        self.refused(code, "spacing", e2enet.evaluate, self.labels, self.labels)
        self.refused(code, "shape", e2enet.evaluate, self.labels, self.labels[1:], spacing=self.spacing)
        self.refused(code, "whole numbers", e2enet.evaluate, self.labels + 0.5, self.labels, spacing=self.spacing)
        self.refused(code, "one kind", e2enet.evaluate, prediction, self.labels)

    def test_info_and_profile_are_the_program_s(self):
        def said(*arguments):
            return json.loads(subprocess.run([PROGRAM, *arguments, "--json"], check=True, capture_output=True).stdout)
        expected, found = said("info", self.model_path, "--threads", "1"), e2enet.info(self.model, threads=1)
        self.assertEqual(list(found), list(expected))
        for key in ("parameters", "flops_paper", "flops_executed", "configuration", "layers", "patch"):
            self.assertEqual(found[key], expected[key])
        expected = said("profile", "-m", self.model_path, "--threads", "1", "--patch", "8,8,8")
        found = e2enet.profile(self.model, patch=(8, 8, 8), threads=1)
        self.assertEqual(list(found), list(expected))
        self.assertEqual([layer["name"] for layer in found["layers"]], [layer["name"] for layer in expected["layers"]])
        self.assertGreater(found["seconds"], 0)

    def test_a_model_says_what_it_is(self):
        self.assertEqual(self.model.labels, {0: "background", 1: "left thing", 2: "right thing"})
        self.assertEqual((self.model.input_channels, self.model.classes, self.model.patch_size), (1, 3, (8, 16, 16)))
        self.assertEqual(self.model.largest_label, 2)
        self.assertEqual(self.model.name, self.model_path)
        self.assertGreater(self.model.flops_paper, self.model.flops_executed)
        with open(self.model_path, "rb") as file:
            model = e2enet.Model.from_bytes(file.read())
        self.assertEqual(model.parameters, self.model.parameters)
        np.testing.assert_array_equal(e2enet.Segmenter(model).segment(self.image_path).labels, self.labels)

    # Errors, cancelling, signals, threads.

    def test_errors_have_a_code_and_a_line(self):
        code = e2enet.ErrorCode
        self.refused(code.CANNOT_READ, "nowhere", e2enet.Model.load, "nowhere.safetensors")
        self.refused(code.INVALID_MODEL, "image.nii.gz", e2enet.Model.load, self.image_path)
        self.refused(code.CANNOT_READ, "nowhere", self.segmenter.segment, "nowhere.nii.gz")
        self.refused(code.INVALID_IMAGE, "model", self.segmenter.segment, self.model_path)
        self.refused(code.CANNOT_WRITE, "no_such", self.segmenter.segment, self.image_path, out="/no_such/labels.nii.gz")
        argument = code.INVALID_ARGUMENT
        self.refused(argument, "spacing", self.segmenter.segment, self.values)
        self.refused(argument, "axes", self.segment_array, self.values, axes="xyz")
        self.refused(argument, "axes", self.segmenter.segment, self.values[0], spacing=(1, 1, 1))
        self.refused(argument, "complex", self.segmenter.segment, self.values + 1j, spacing=(1, 1, 1))
        self.refused(argument, "affine", self.segmenter.segment, self.values, spacing=(1, 1, 1), affine=np.zeros((4, 4)))
        self.refused(code.INVALID_IMAGE, "spacing", self.segmenter.segment, self.values, affine=np.zeros((4, 4)))
        self.refused(argument, "4x4", self.segmenter.segment, self.values, affine=np.eye(3))
        self.refused(argument, "spacing", self.segmenter.segment, self.image_path, spacing=(1, 1, 1))
        self.refused(argument, "empty list", self.segmenter.segment, [])
        self.refused(argument, "one kind", self.segmenter.segment, [self.image_path, self.values])
        for how in ({"threads": -1}, {"threads": 1.5}, {"step": 0}, {"step": "half"}, {"precision": "f16"},
                    {"largest_component": "some"}):
            self.refused(argument, next(iter(how)), e2enet.Segmenter, self.model, **how)
        self.refused(argument, "Model", e2enet.Segmenter, self.model_path)
        again = pickle.loads(pickle.dumps(e2enet.Error(4, "text")))
        self.assertEqual((again.code, str(again)), (code.INVALID_MODEL, "text"))

    def test_progress_counts_and_cancels(self):
        seen = []
        self.segment_array(self.values, progress=seen.append)
        self.assertEqual(list(dict.fromkeys(one.stage for one in seen)), ["prepare", "segment", "export", "write"])
        tiles = [one for one in seen if one.stage == "segment"]
        self.assertEqual(tiles[-1].done, tiles[-1].total)
        self.assertGreater(len(tiles), 10)
        output = self.file("cancelled.nii.gz")
        stop_at = [one for one in seen].index(tiles[2])
        calls = []
        self.refused(e2enet.ErrorCode.CANCELLED, "cancelled", self.segmenter.segment, self.image_path, out=output,
                     progress=lambda at: calls.append(at) or len(calls) <= stop_at)
        self.assertEqual(len(calls), stop_at + 1)
        self.assertFalse(os.path.exists(output))

        class Mine(Exception):
            pass

        def fail(_):
            raise Mine("mine")
        with self.assertRaises(Mine):
            self.segmenter.segment(self.image_path, out=output, progress=fail)
        self.assertFalse(os.path.exists(output))
        np.testing.assert_array_equal(self.segmenter.segment(self.image_path).labels, self.labels)

    def test_ctrl_c_ends_the_work_within_a_tile(self):
        # Who runs the tests in the background may have SIGINT ignored, and with it Python.
        before = signal.default_int_handler
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, before))
        output = self.file("interrupted.nii.gz")
        calls = []

        def interrupt_once(at):
            calls.append(at)
            if at.stage == "segment" and at.done == 5:
                os.kill(os.getpid(), signal.SIGINT)
        with self.assertRaises(KeyboardInterrupt):
            self.segmenter.segment(self.image_path, out=output, progress=interrupt_once)
        self.assertLessEqual(calls[-1].done, 6)
        self.assertFalse(os.path.exists(output))
        # From outside, while the library works and nothing of Python runs.
        large = np.tile(self.values, (6, 12, 12))
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        start = time.monotonic()
        with self.assertRaises(KeyboardInterrupt):
            self.segmenter.segment(large, spacing=(1, 1, 1))
        self.assertLess(time.monotonic() - start, 3)
        self.assertIs(signal.getsignal(signal.SIGINT), before)
        np.testing.assert_array_equal(self.segmenter.segment(self.image_path).labels, self.labels)

    def test_other_signals_reach_their_handlers(self):
        came = []
        before = signal.signal(signal.SIGUSR1, lambda number, frame: came.append(number))
        self.addCleanup(signal.signal, signal.SIGUSR1, before)
        sent = []

        def send(at):
            if not sent:
                sent.append(os.kill(os.getpid(), signal.SIGUSR1))
        self.segmenter.segment(self.image_path, progress=send)
        self.assertEqual(came, [signal.SIGUSR1])

    def test_threads_share_a_model_and_leave_python_running(self):
        steps, done = [0], threading.Event()

        def count():
            while not done.is_set():
                steps[0] += 1
                time.sleep(0.001)
        results = [None] * 4
        shared = e2enet.Segmenter(self.model, threads=1)

        def work(i):
            segmenter = shared if i < 2 else e2enet.Segmenter(self.model, threads=1)
            results[i] = [segmenter.segment(self.image_path).labels for _ in range(3)]
        counter = threading.Thread(target=count)
        counter.start()
        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        done.set()
        counter.join()
        for labels in itertools.chain(*results):
            np.testing.assert_array_equal(labels, self.labels)
        self.assertGreater(steps[0], 5)

    # Memory.

    def test_a_large_volume_is_not_copied(self):
        model = self.file("quick.safetensors")
        # A model of coarser voxels than the image's, as most are for such images: what the network sees is small.
        write_model(model, support.random_model(patch_size=[16, 32, 32], base_features=2, density=0.1, preprocessing={
            "spacing": [4.0, 4.0, 4.0], "normalization": [{"scheme": "nonCT", "use_mask": False}]}))
        for order in "CF":
            found = peak_of("""
                values = np.zeros((400, 512, 512), np.int16, order=sys.argv[2])
                values[:] = np.arange(512, dtype=np.int16) % 97  # every page is in RAM
                labels = np.ones(values.shape, np.uint16)
                model = e2enet.Model.load(sys.argv[1])
                segmenter = e2enet.Segmenter(model, threads=2, step=1)
                before = e2enet.peak_resident_bytes()
                segmenter.segment(values, spacing=(1, 1, 1), out=labels)
                print(json.dumps({"added": e2enet.peak_resident_bytes() - before, "volume": values.nbytes,
                                  "labels": int(labels.max())}))
                """, model, order)
            self.assertEqual(found["volume"], 512 * 512 * 400 * 2)
            # What the library holds: the network's volume, some slices of the image and of probabilities.
            self.assertLess(found["added"], found["volume"] // 2, order)
            self.assertLessEqual(found["labels"], 2)

    def test_fifty_volumes_take_the_memory_of_one_and_the_model_is_read_once(self):
        model = self.file("gone.safetensors")
        write_model(model, support.random_model(patch_size=[16, 32, 32]))
        found = peak_of("""
            import os
            model = e2enet.Model.load(sys.argv[1])
            os.remove(sys.argv[1])
            segmenter = e2enet.Segmenter(model, threads=2, step=1)
            shape = (64, 64, 64)
            values = (np.arange(np.prod(shape)).reshape(shape) % 251).astype(np.float64)
            resident = []
            for i in range(50):
                found = segmenter.segment(values + i, spacing=(1, 1, 1), mean_intensities=True, probabilities=True,
                                          progress=lambda at: True)
                resident.append(e2enet.resident_bytes())
            print(json.dumps(resident))
            """, model)
        self.assertEqual(len(found), 50)
        # Less than one of the volumes that each call makes (float64 values, probabilities), and 16 MiB in all; what grows
        # at first is the allocator's, a few hundred KiB a call, and comes to its end.
        self.assertLess(max(found[10:]) - found[9], 16 << 20)
        self.assertLess(found[49] - found[39], 3 << 20)

    # The package itself.

    def test_versions_and_functions_are_the_headers(self):
        with open(os.path.join(support.ROOT, "include", "e2enet", "version.h"), encoding="utf-8") as file:
            self.assertIn(f'#define E2ENET_VERSION "{e2enet.__version__}"', file.read())
        declared = {}
        for name in ("e2enet_c.h", "version.h"):
            with open(os.path.join(support.ROOT, "include", "e2enet", name), encoding="utf-8") as file:
                text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
            for kind, function, arguments in re.findall(r"E2ENET_API ([\w\s*]+?)\s*\be2enet_(\w+)\(([^;]*)\);", text):
                declared[function] = (kind, 0 if arguments == "void" else arguments.count(",") + 1)
        self.assertGreater(len(declared), 80)
        for name, takes in _library._STATUS.items():
            self.assertEqual(declared[name], ("e2enet_status", len(takes)), name)
        kinds = {None: "void", ctypes.c_char_p: "const char*", ctypes.c_int: "int", ctypes.c_int64: "int64_t",
                 ctypes.c_double: "double"}
        for name, (gives, takes) in _library._VALUES.items():
            self.assertEqual(declared[name], (kinds[gives], len(takes)), name)
        with open(os.path.join(support.ROOT, "include", "e2enet", "e2enet_c.h"), encoding="utf-8") as file:
            text = file.read()
        for scalar, number in _images.SCALARS.items():
            if scalar != np.dtype(bool):
                self.assertRegex(text, rf"E2ENET_{scalar.name.upper()} = {number}\b")
        for one in e2enet.ErrorCode:
            self.assertRegex(text, rf"E2ENET_{one.name} = {int(one)}\b")

    def test_everything_public_is_described_and_has_types(self):
        for name in e2enet.__all__:
            thing = getattr(e2enet, name)
            if name == "__version__":
                continue
            self.assertTrue(inspect.getdoc(thing), name)
            if inspect.isfunction(thing):
                self.assertIn("return", typing.get_type_hints(thing), name)
        for owner in (e2enet.Model, e2enet.Segmenter):
            for name, thing in vars(owner).items():
                function = thing.fget if isinstance(thing, property) else getattr(thing, "__func__", thing)
                if not name.startswith("_") and inspect.isfunction(function):
                    self.assertIn("return", typing.get_type_hints(function), name)

    def test_the_module_is_the_program(self):
        environment = {**os.environ, "E2ENET_PROGRAM": PROGRAM, "PYTHONPATH": os.path.join(support.ROOT, "python")}
        def run(*arguments):
            return subprocess.run(arguments, capture_output=True, env=environment, cwd=self.folder.name)
        for arguments in (["--version"], ["info", self.model_path, "--patch", "3"]):
            found, expected = run(sys.executable, "-m", "e2enet", *arguments), run(PROGRAM, *arguments)
            self.assertEqual((found.returncode, found.stdout, found.stderr),
                             (expected.returncode, expected.stdout, expected.stderr))


def simpleitk():
    """SimpleITK, or where it is not installed, a stand-in with those of its functions that the package uses."""
    try:
        import SimpleITK
        return SimpleITK
    except ImportError:
        pass
    itk = types.ModuleType("SimpleITK")

    class Image:
        def __init__(self, array):
            self.array, self.spacing, self.origin = array, (1.0,) * 3, (0.0,) * 3
            self.direction = tuple(np.eye(3).ravel())

        def GetDimension(self):
            return 3

        def GetSpacing(self):
            return self.spacing

        def SetSpacing(self, spacing):
            self.spacing = tuple(spacing)

        def GetOrigin(self):
            return self.origin

        def SetOrigin(self, origin):
            self.origin = tuple(origin)

        def GetDirection(self):
            return self.direction

        def SetDirection(self, direction):
            self.direction = tuple(direction)
    Image.__module__ = "SimpleITK.SimpleITK"
    itk.Image = Image
    itk.GetImageFromArray = lambda array, isVector=False: Image(np.array(array))
    itk.GetArrayViewFromImage = lambda image: image.array
    return itk


if __name__ == "__main__":
    unittest.main()
