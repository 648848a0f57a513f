"""The data that the trainer takes, and what it refuses: python3 tests/python/test_train_data.py."""
import contextlib
import gzip
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

import nibabel  # noqa: E402
import numpy  # noqa: E402
import torch  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402

import support  # noqa: E402
from e2enet_model_file import read_model, write_model  # noqa: E402
from e2enet_train import __main__ as program  # noqa: E402
from e2enet_train import dataset, evaluate, files, orientation, preprocess, scores, trainer, volumes  # noqa: E402

PROGRAM = os.environ.get("E2ENET_PROGRAM", str(ROOT / "build" / "release" / "bin" / "e2enet"))
SHAPE = (20, 18, 16)
QUICK = ["--iterations", "2", "--base-features", "2", "--poolings", "1", "--density", "1", "--validation-cases", "1",
         "--threads", "1", "--precision", "float32", "--workers", "0"]


def save(path, array, affine=None, code=1):
    """A NIfTI file; code 0 leaves it without an orientation."""
    image = nibabel.Nifti1Image(array, numpy.eye(4) if affine is None else affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(image.affine, code)
    image.set_qform(None, 0)
    nibabel.save(image, path)


def voxels_of(path):
    """Not mapped, so that the file may be written again."""
    return numpy.array(nibabel.load(path, mmap=False).dataobj)


def patch(path, offset, layout, *values):
    """Overwrites bytes of an uncompressed file."""
    content = bytearray(Path(path).read_bytes())
    struct.pack_into(layout, content, offset, *values)
    Path(path).write_bytes(bytes(content))


class Folder(unittest.TestCase):
    """A temporary folder with a data set of a bright box in noise, in a process that has said nothing yet."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        said = mock.patch.object(volumes.Remarks, "_said", set())
        said.start()
        self.addCleanup(said.stop)

    def make(self, name="data", cases=3, channel="MRI", labels=("background", "box"), image=None, label=None):
        """image(case, array) and label(case, array) may change what is written."""
        data = self.folder / name
        (data / "imagesTr").mkdir(parents=True)
        (data / "labelsTr").mkdir()
        generator = numpy.random.default_rng(1)
        for case in range(cases):
            voxels = (generator.normal(size=SHAPE) * 20 + 200).astype(numpy.float32)
            values = numpy.zeros(SHAPE, numpy.uint8)
            values[4:12, 5:12, 3:12] = 1
            voxels[values > 0] += 100
            save(data / "imagesTr" / f"c{case}_0000.nii", voxels if image is None else image(case, voxels))
            save(data / "labelsTr" / f"c{case}.nii", values if label is None else label(case, values))
        (data / "dataset.json").write_text(json.dumps(
            {"name": "box", "channel_names": {"0": channel}, "labels": {name: i for i, name in enumerate(labels)}}))
        return data

    def run_main(self, *arguments):
        """(exit code, stdout, stderr with the warnings)."""
        out, err = io.StringIO(), io.StringIO()
        logged = mock.patch.object(volumes.LOG, "warning", lambda text, *values: print(text % values, file=err))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), logged:
            code = program.main([str(argument) for argument in arguments])
        return code, out.getvalue(), err.getvalue()

    def train(self, data, run="run", *more):
        return self.run_main("train", data, self.folder / run, *QUICK, *more)

    def assert_refused(self, data, *parts, command="plan"):
        code, out, err = self.run_main(command, data, self.folder / "refused", *(QUICK if command == "train" else []))
        self.assertNotEqual(code, 0, out)
        lines = [line for line in err.splitlines() if not line.startswith("warning")]
        self.assertEqual(len(lines), 1, err)
        for part in parts:
            self.assertIn(part, lines[0])


class Orientation(Folder):
    def file(self, sform=None, qform=None, sform_code=0, qform_code=0, shape=(8, 9, 10)):
        path = self.folder / "x.nii"
        image = nibabel.Nifti1Image(numpy.arange(numpy.prod(shape), dtype=numpy.float32).reshape(shape), None)
        image.set_sform(numpy.eye(4) if sform is None else sform, 1)
        if qform is not None:
            image.set_qform(qform, 1)
        nibabel.save(image, path)
        patch(path, 252, "<hh", qform_code, sform_code)
        return path

    def test_an_image_without_codes_is_method_1_with_a_remark(self):
        grid = volumes.read_grid(self.file(sform=numpy.diag([-1.0, -1, 1, 1])))
        self.assertTrue((grid.affine == numpy.eye(4)).all())
        self.assertFalse(grid.located)
        self.assertIn("does not tell its orientation", grid.remarks[0])

    def test_a_bad_sform_gives_way_to_the_qform_and_both_bad_are_refused(self):
        turned = numpy.diag([-1.0, -1, 1, 1])
        grid = volumes.read_grid(self.file(sform=numpy.zeros((4, 4)), qform=turned, sform_code=1, qform_code=1))
        self.assertEqual(orientation.code_of(grid.affine), "LPS")
        self.assertTrue(grid.located)
        self.assertEqual(len(grid.remarks), 1)
        with self.assertRaisesRegex(volumes.ImageError, "x.nii: sform or qform"):
            volumes.read_grid(self.file(sform=numpy.zeros((4, 4)), sform_code=1))
        grid = volumes.read_grid(self.file(sform=numpy.eye(4), qform=turned, sform_code=1, qform_code=1))
        self.assertEqual(orientation.code_of(grid.affine), "RAS")

    def test_the_qform_is_that_of_nibabel(self):
        for seed in range(20):
            matrix = numpy.eye(4)
            matrix[:3, :3] = Rotation.random(random_state=seed).as_matrix() * [0.8, 1.5, 3 if seed % 2 else -3]
            matrix[:3, 3] = [5, -7, 11]
            path = self.file(qform=matrix, qform_code=1)
            self.assertLess(numpy.abs(volumes.read_grid(path).affine - nibabel.load(path).affine).max(), 1e-5)

    def test_units_are_converted(self):
        path = self.file(sform=numpy.diag([2.0, 3, 4, 1]), sform_code=1)
        patch(path, 80, "<3f", 2, 3, 4)
        for unit, scale in ((0, 1), (1, 1000), (2, 1), (3, 0.001)):
            patch(path, 123, "B", unit)
            grid = volumes.read_grid(path)
            self.assertTrue(numpy.allclose(grid.spacing, numpy.array([2, 3, 4]) * scale), unit)
            self.assertTrue(numpy.allclose(numpy.diag(grid.affine)[:3], numpy.array([2, 3, 4]) * scale), unit)

    def test_turning_is_lossless_and_carries_the_matrix_along(self):
        voxels = numpy.random.default_rng(2).normal(size=(3, 4, 5))
        for seed in range(30):
            affine = numpy.eye(4)
            affine[:3, :3] = Rotation.random(random_state=seed).as_matrix() * [1, 2, 3]
            affine[:3, 3] = [1, 2, 3]
            turn = orientation.turn_to(affine, "LPS")
            turned, matrix = turn.of(voxels), turn.of_affine(affine, voxels.shape)
            self.assertEqual(orientation.code_of(matrix), "LPS")
            # A voxel's value and position stay together.
            for index in ((0, 0, 0), (1, 2, 1), tuple(size - 1 for size in turned.shape)):
                place = matrix @ [*index, 1]
                source = numpy.rint(numpy.linalg.solve(affine, place)[:3]).astype(int)
                self.assertEqual(turned[index], voxels[tuple(source)])

    @unittest.skipUnless(os.path.exists(PROGRAM), "needs the program: set E2ENET_PROGRAM to build/PRESET/bin/e2enet")
    def test_trainer_and_program_turn_every_matrix_alike(self):
        settings = {"orientation": "RAS", "spacing": None, "normalization": [{"scheme": "noNorm"}], "transpose_forward": [0, 1, 2]}
        model = support.random_model(preprocessing={key: value for key, value in settings.items() if key != "spacing"})
        write_model(self.folder / "m.safetensors", model)
        generator = numpy.random.default_rng(4)
        voxels = generator.normal(size=(8, 9, 10)).astype(numpy.float32)
        flips = [numpy.diag(signs)[list(order)] for signs in ((1, 1, 1), (-1, 1, 1), (1, -1, -1))
                 for order in ((0, 1, 2), (1, 2, 0), (2, 1, 0))]
        matrices = [("flip", matrix.astype(float)) for matrix in flips]
        for seed in range(60):
            rotation = Rotation.random(random_state=seed).as_matrix()
            matrices.append(("oblique", rotation * [0.9, 1.0, 4.0]))
            matrices.append(("sheared", rotation @ (numpy.eye(3) + numpy.triu(generator.normal(size=(3, 3)), 1) * 0.4)))
        # Two ways to pair the axes that are equally good: the first in the documented order is taken.
        half = numpy.sqrt(0.5)
        matrices.append(("tie", numpy.array([[half, -half, 0], [half, half, 0], [0, 0, 1]])))
        others = 0  # how many would fail by nibabel's rule
        path = self.folder / "x.nii"
        for index, (kind, matrix) in enumerate(matrices):
            affine = numpy.eye(4)
            affine[:3, :3] = matrix
            save(path, voxels, affine)
            if kind == "oblique" and index % 3 == 0:  # by its qform
                image = nibabel.load(path, mmap=False)
                image.set_sform(None, 0)
                image.set_qform(affine, 1)
                nibabel.save(image, path)
            others += "".join(nibabel.aff2axcodes(affine)) != orientation.code_of(affine)
            result = subprocess.run([PROGRAM, "preprocess", "-q", "-m", str(self.folder / "m.safetensors"), "-i", str(path),
                                     "-o", str(self.folder / "x.npy")], capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, (kind, matrix, result.stderr))
            expected, _, _ = preprocess.preprocess(volumes.read_volume([path], "RAS"), settings)
            found = numpy.load(self.folder / "x.npy")
            self.assertEqual(found.shape, expected.shape, (kind, matrix))
            self.assertTrue((found == expected).all(), (kind, matrix))
        self.assertGreater(others, 0)

    def test_labels_are_brought_onto_the_images_voxels(self):
        flipped = numpy.diag([-1.0, 1, 1, 1])
        flipped[0, 3] = SHAPE[0] - 1
        turned = numpy.eye(4)[:, [1, 2, 0, 3]]
        for name, affine, stored in (("same", numpy.eye(4), lambda a: a), ("flipped", flipped, lambda a: a[::-1]),
                                     ("turned", turned, lambda a: a.transpose(1, 2, 0))):
            data = self.make(name)
            label = data / "labelsTr" / "c0.nii"
            values = voxels_of(label)
            save(label, numpy.ascontiguousarray(stored(values)), affine)
            for code in (None, "LPI"):
                volume, found = volumes.read_case([data / "imagesTr" / "c0_0000.nii"], label, code)
                expected = volume.data[0] > 250
                overlap = 2 * (expected & (found > 0)).sum() / (expected.sum() + (found > 0).sum())
                self.assertGreater(overlap, 0.95, (name, code))

    def test_labels_that_lie_elsewhere_are_refused(self):
        data = self.make()
        label = data / "labelsTr" / "c0.nii"
        values = voxels_of(label)
        moved, flipped = numpy.eye(4), numpy.diag([-1.0, 1, 1, 1])
        moved[1, 3] = 1.0
        oblique = numpy.eye(4)
        oblique[:3, :3] = Rotation.from_euler("z", 5, degrees=True).as_matrix()
        for affine in (moved, flipped, oblique, numpy.diag([1.0, 1, 1.1, 1])):
            save(label, values, affine)
            with self.assertRaisesRegex(volumes.ImageError, "c0.nii: (sform or qform|pixdim): expected"):
                volumes.read_case([data / "imagesTr" / "c0_0000.nii"], label)
        nudged = numpy.eye(4)
        nudged[1, 3] = 0.05
        save(label, values, nudged)
        volumes.read_case([data / "imagesTr" / "c0_0000.nii"], label)
        # No codes: the voxels are the image's where that is the only meaning.
        save(label, values, numpy.eye(4), code=0)
        volumes.read_case([data / "imagesTr" / "c0_0000.nii"], label)
        image = data / "imagesTr" / "c0_0000.nii"
        save(image, voxels_of(image), flipped)
        with self.assertRaisesRegex(volumes.ImageError, "sform or qform"):
            volumes.read_case([image], label)

    def test_channels_on_other_grids_are_refused(self):
        data = self.make()
        paths = [data / "imagesTr" / f"c{case}_0000.nii" for case in range(2)]
        self.assertEqual(volumes.read_volume(paths).data.shape, (2, *SHAPE[::-1]))
        save(paths[1], voxels_of(paths[1]), numpy.diag([-1.0, 1, 1, 1]))
        with self.assertRaisesRegex(volumes.ImageError, "c1_0000.nii: sform or qform"):
            volumes.read_volume(paths)

    def test_the_remark_is_said_once_for_all_images(self):
        data = self.make(cases=5)
        for path in sorted((data / "imagesTr").iterdir()) + sorted((data / "labelsTr").iterdir()):
            patch(path, 252, "<hh", 0, 0)
        code, _, err = self.train(data)
        self.assertEqual(code, 0, err)
        self.assertEqual(err.count("does not tell its orientation"), 1, err)
        self.assertIn("and 7 more", err)
        self.assertEqual(read_model(self.folder / "run" / "model.safetensors").configuration["preprocessing"]["orientation"],
                         "RAS")


class Voxels(Folder):
    def test_labels_are_rounded_where_they_are_near_a_whole_number(self):
        path = self.folder / "l.nii"
        values = numpy.zeros(SHAPE, numpy.float32)
        values[1, 2, 3], values[2, 2, 2] = 0.9999, 1.009
        save(path, values)
        _, labels = volumes._read_labels(path, [0, 1])
        self.assertEqual((labels[1, 2, 3], labels[2, 2, 2], int(labels.sum())), (1, 1, 2))
        for wrong in (0.98, numpy.nan, numpy.inf, -numpy.inf):
            values[5, 4, 3] = wrong
            save(path, values)
            with self.assertRaisesRegex(volumes.ImageError, r"l.nii: voxel \(5, 4, 3\): expected a label"):
                volumes._read_labels(path, None)

    def test_labels_saved_with_a_scale_are_what_was_meant(self):
        path = self.folder / "l.nii"
        values = numpy.zeros(SHAPE)
        values[:4], values[4:8], values[0, 0, 0] = 1, 2, 7
        image = nibabel.Nifti1Image(values, numpy.eye(4))
        image.header.set_data_dtype(numpy.int16)
        nibabel.save(image, path)
        self.assertNotEqual(float(nibabel.load(path).dataobj[1, 0, 0]), 1.0)
        self.assertTrue((volumes._read_labels(path, None)[1] == values).all())

    def test_labels_are_never_wrapped_and_unknown_ones_are_named(self):
        path = self.folder / "l.nii"
        for kind, value in ((numpy.int16, 299), (numpy.int16, -1), (numpy.uint32, 2**32 - 1), (numpy.uint64, 2**64 - 1),
                            (numpy.int64, -2**63), (numpy.int16, 257)):
            values = numpy.zeros(SHAPE, kind)
            values[3, 2, 1] = value
            save(path, values)
            with self.assertRaisesRegex(volumes.ImageError, r"l.nii: voxel \(3, 2, 1\): expected a label .*found "):
                volumes._read_labels(path, [0, 1])
        values = numpy.zeros(SHAPE, numpy.int16)
        values[3, 2, 1] = 299
        save(path, values)
        self.assertEqual(int(volumes._read_labels(path, range(300))[1][3, 2, 1]), 299)
        self.assertEqual(int(volumes._read_labels(path, None)[1][3, 2, 1]), 299)
        probabilities = numpy.zeros((300, 2, 2, 2), numpy.float32)
        probabilities[299] = 1
        geometry = preprocess.Geometry((2, 2, 2), (slice(0, 2),) * 3, (1.0,) * 3, (2, 2, 2))
        labels = preprocess.labels_to_volume(probabilities, geometry, {"transpose_forward": [0, 1, 2]})
        self.assertTrue((labels == 299).all())

    def test_an_unknown_label_is_refused_also_where_the_plan_exists(self):
        data = self.make()
        self.assertEqual(self.run_main("plan", data, self.folder / "refused")[0], 0)
        values = numpy.zeros(SHAPE, numpy.int16)
        values[3, 2, 1] = 257
        save(data / "labelsTr" / "c1.nii", values)
        self.assert_refused(data, "c1.nii", "voxel (3, 2, 1)", "found 257", command="train")

    def test_300_labels_are_trained_as_they_are(self):
        data = self.make(labels=["background"] + [f"l{value}" for value in range(1, 300)],
                         label=lambda case, values: values.astype(numpy.int16) * 299)
        code, _, err = self.train(data)
        self.assertEqual(code, 0, err)
        self.assertEqual(numpy.unique(numpy.load(self.folder / "run" / "preprocessed" / "c0_labels.npy")).tolist(), [0, 299])

    def test_infinite_voxels_are_refused_with_file_and_voxel(self):
        for number, value in enumerate((numpy.inf, -numpy.inf, 1e300)):
            def image(case, voxels, value=value):
                voxels = voxels.astype(numpy.float64)
                voxels[7, 6, 5] = value if case == 1 else 0
                return voxels
            self.assert_refused(self.make(f"d{number}", image=image), "c1_0000.nii: voxel (7, 6, 5)", "finite")

    def test_nan_is_zero_and_never_a_mean(self):
        def image(case, voxels):
            voxels[5, :, 5] = numpy.nan
            return voxels
        for channel in ("MRI", "CT"):
            data = self.make(channel, channel=channel, image=image)
            code, _, err = self.train(data, "run_" + channel)
            self.assertEqual(code, 0, err)
            self.assertIn("NaN", err)
            plan = json.loads((self.folder / ("run_" + channel) / "plan.json").read_text(),
                              parse_constant=lambda text: self.fail(text))
            self.assertEqual(plan["preprocessing"]["normalization"][0]["scheme"], "CT" if channel == "CT" else "nonCT")
            prepared = numpy.load(self.folder / ("run_" + channel) / "preprocessed" / "c0_image.npy")
            self.assertTrue(numpy.isfinite(prepared).all())

    def test_damaged_files_are_one_line(self):
        def write(content):
            def change(path):
                path.write_bytes(content(path.read_bytes()))
            return change

        def rgb(path):
            colours = numpy.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
            nibabel.save(nibabel.Nifti1Image(colours, numpy.eye(4)), path)

        def four(path):
            save(path, numpy.zeros((*SHAPE, 2), numpy.float32))

        def flat(path):
            save(path, numpy.zeros(SHAPE[:2], numpy.float32))

        def complex_numbers(path):
            save(path, numpy.zeros(SHAPE, numpy.complex64))

        zipped = gzip.compress
        changes = {
            "cut gzip": (write(lambda b: zipped(b)[:-2000]), "cut short"),
            "cut gzip trailer": (write(lambda b: zipped(b)[:-4]), "cut short"),
            "damaged gzip": (write(lambda b: zipped(b)[:-8] + b"\0" * 8), "damaged"),
            "cut": (write(lambda b: b[:-1]), "cut short"),
            "cut header": (write(lambda b: b[:200]), "cut short"),
            "empty": (write(lambda b: b""), "0 bytes"),
            "text": (write(lambda b: b"hello, I am no image" * 100), "sizeof_hdr"),
            "analyze": (write(lambda b: b[:344] + b"\0" * 4 + b[348:]), "magic"),
            "rgb": (rgb, "RGB"), "complex": (complex_numbers, "complex"), "four": (four, "dim[4]"), "flat": (flat, "dim[0]"),
            "pixdim": (lambda path: patch(path, 80, "<f", 0.0), "pixdim[1]"),
            "slope": (lambda path: patch(path, 112, "<f", numpy.inf), "scl_slope"),
            "code": (lambda path: patch(path, 254, "<h", 9), "sform_code"),
        }
        for number, (kind, (change, expected)) in enumerate(changes.items()):
            with self.subTest(kind):
                data = self.make(f"d{number}")
                change(data / "imagesTr" / "c1_0000.nii")
                self.assert_refused(data, "c1_0000.nii", expected)

    def test_headers_that_others_read_are_read(self):
        data = self.make()
        path = data / "imagesTr" / "c0_0000.nii"
        expected = volumes.read_volume([path])

        def one_volume(path):
            patch(path, 40, "<h", 4)

        def no_volume(path):
            one_volume(path)
            patch(path, 48, "<h", 0)

        changes = {"bitpix": lambda p: patch(p, 72, "<h", 8), "pixdim": lambda p: patch(p, 80, "<f", -1.0),
                   "one volume": one_volume, "no volume": no_volume, "offset": lambda p: patch(p, 108, "<f", 0.0)}
        for kind, change in changes.items():
            other = self.folder / "other.nii"
            shutil.copy(path, other)
            change(other)
            found = volumes.read_volume([other])
            self.assertTrue((found.data == expected.data).all(), kind)
            self.assertEqual((found.spacing, found.orientation), (expected.spacing, expected.orientation), kind)
        image = nibabel.load(path, mmap=False)
        nibabel.save(nibabel.Nifti2Image(image.dataobj, image.affine), other)
        self.assertTrue((volumes.read_volume([other]).data == expected.data).all())
        swapped = nibabel.Nifti1Image(numpy.asarray(image.dataobj), image.affine, image.header.as_byteswapped(">"))
        nibabel.save(swapped, other)
        self.assertTrue((volumes.read_volume([other]).data == expected.data).all())
        whole = path.read_bytes()
        other.write_bytes(gzip.compress(whole[:1000]) + gzip.compress(whole[1000:]))
        self.assertTrue((volumes.read_volume([other]).data == expected.data).all())

    def test_shapes_and_empty_foreground_are_one_line(self):
        self.assert_refused(self.make("shape", label=lambda case, values: numpy.pad(values, ((0, 3), (0, 0), (0, 0)))),
                            "c0.nii", "dim: expected 20 x 18 x 16", "found 23 x 18 x 16")
        self.assert_refused(self.make("empty", channel="CT", label=lambda case, values: values * 0), "CT", "found none")


class Folders(Folder):
    def touch(self, *names):
        """A data set of empty files, as find_cases sees nothing but names."""
        data = Path(tempfile.mkdtemp(dir=self.folder))
        for name in ("imagesTr/", "labelsTr/", *names):
            path = data / name
            path.mkdir() if name.endswith("/") else path.write_bytes(b"")
        return data

    def names(self, channels, *files_):
        return [(case.name, [path.name for path in case.images]) for case in dataset.find_cases(self.touch(*files_), channels)]

    def test_endings_in_any_case(self):
        self.assertEqual(self.names(1, "imagesTr/a_0000.NII.GZ", "labelsTr/a.Nii", "imagesTr/B.nii", "labelsTr/B.nii.gz"),
                         [("B", ["B.nii"]), ("a", ["a_0000.NII.GZ"])])
        data = self.make()
        for case in range(3):
            image, label = data / "imagesTr" / f"c{case}_0000.nii", data / "labelsTr" / f"c{case}.nii"
            image.with_suffix(".NII.GZ").write_bytes(gzip.compress(image.read_bytes()))
            image.unlink()
            label.rename(label.with_suffix(".NII"))
        self.assertEqual(self.train(data)[0], 0)

    def test_two_files_for_one_case_are_refused(self):
        for files_ in (("imagesTr/a.nii", "labelsTr/a.nii", "labelsTr/a.nii.gz"),
                       ("imagesTr/a_0000.nii", "imagesTr/a_0000.NII", "labelsTr/a.nii"),
                       ("imagesTr/a.nii", "imagesTr/a_0000.nii", "labelsTr/a.nii")):
            with self.assertRaisesRegex(dataset.DatasetError, "expected one .*a"):
                self.names(1, *files_)

    def test_four_digits_are_a_channel_only_where_the_channels_run_to_the_last(self):
        years = [f"{folder}/sub_{year}.nii" for folder in ("imagesTr", "labelsTr") for year in (2019, 2020)]
        self.assertEqual(self.names(1, *years), [("sub_2019", ["sub_2019.nii"]), ("sub_2020", ["sub_2020.nii"])])
        numbers = [f"{folder}/sub_000{n}.nii" for folder in ("imagesTr", "labelsTr") for n in range(3)]
        self.assertEqual([name for name, _ in self.names(1, *numbers)], ["sub_0000", "sub_0001", "sub_0002"])
        two = ["imagesTr/a_0000.nii", "imagesTr/a_0001.nii", "labelsTr/a.nii"]
        self.assertEqual(self.names(2, *two), [("a", ["a_0000.nii", "a_0001.nii"])])
        for channels, files_ in ((1, two), (3, two), (2, two[1:]), (2, two[:1] + two[2:])):
            with self.assertRaisesRegex(dataset.DatasetError, "found other images for 1 of 1: a.nii"):
                self.names(channels, *files_)

    def test_what_is_left_out_is_counted_and_named(self):
        with self.assertLogs(volumes.LOG, "WARNING") as log:
            names = self.names(1, "imagesTr/a.nii", "labelsTr/a.nii", "imagesTr/b_0000.nii", "imagesTr/c.nii", "imagesTr/x.png")
        self.assertEqual([name for name, _ in names], ["a"])
        self.assertTrue(any("left out 2 without a label: b_0000.nii, c.nii" in line for line in log.output), log.output)
        self.assertTrue(any("left out 1 that are no NIfTI files" in line and "x.png" in line for line in log.output))

    def test_hidden_files_pipes_and_folders_are_not_opened(self):
        data = self.make()
        for folder, name in (("imagesTr", "._c0_0000.nii.gz"), ("labelsTr", "._c0.nii.gz"), ("labelsTr", ".nii")):
            (data / folder / name).write_bytes(b"\0\5\x16\7Mac OS X")
        os.mkfifo(data / "imagesTr" / "pipe.nii")
        (data / "labelsTr" / "folder.nii").mkdir()
        (data / "labelsTr" / "nowhere.nii").symlink_to("missing")
        code, _, err = self.train(data)
        self.assertEqual(code, 0, err)
        for name in ("pipe.nii", "folder.nii", "nowhere.nii"):
            self.assertIn(name, err)
        self.assertNotIn("._c0", err)
        with self.assertRaisesRegex(volumes.ImageError, "pipe.nii: expected a file"):
            volumes.read_volume([data / "imagesTr" / "pipe.nii"])

    def test_the_description_may_have_a_byte_order_mark_and_must_be_an_object(self):
        data = self.make()
        path = data / "dataset.json"
        text = path.read_text()
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
        self.assertEqual(dataset.read_description(path).labels, {0: "background", 1: "box"})
        for content in (b"[]", b"\xff\xfe{}", b"{", b"3"):
            path.write_bytes(content)
            self.assert_refused(data, "dataset.json")

    def test_names_that_are_not_utf8(self):
        data = self.make()
        (data / "imagesTr" / "c0_0000.nii").rename(data / "imagesTr" / os.fsdecode(b"M\xfcller_0000.nii"))
        (data / "labelsTr" / "c0.nii").rename(data / "labelsTr" / os.fsdecode(b"M\xfcller.nii"))
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
        run = self.folder / "run"
        subprocess.run([sys.executable, "-m", "e2enet_train", "train", data, run, *QUICK, "--validation-cases", "2"],
                       env=environment, check=True, capture_output=True, timeout=120)
        model = run / "model.safetensors"
        names = read_model(model).configuration["provenance"]["training"]["validation_cases"]
        json.dumps(names, ensure_ascii=False).encode("utf-8")
        result = subprocess.run([sys.executable, "-m", "e2enet_train", "evaluate", model, data, "--no-mirroring", "--json",
                                 self.folder / "s.json"], env=environment, capture_output=True, timeout=120)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(b"M\\xfcller", result.stdout)
        self.assertIn("M\\xfcller", json.loads((self.folder / "s.json").read_text())["by_case"])


class Spacings(Folder):
    def test_implausible_spacings_are_named_and_forced(self):
        for number, spacing in enumerate((0.001, 1000.0)):
            data = self.make(f"d{number}")
            path = data / "imagesTr" / "c2_0000.nii"
            save(path, voxels_of(path), numpy.diag([spacing] * 3 + [1]))
            self.assert_refused(data, "c2_0000.nii: pixdim[1]", f"{spacing:g} mm", "--force")
        data = self.make("far")
        for folder, name in (("imagesTr", "c2_0000.nii"), ("labelsTr", "c2.nii")):
            path = data / folder / name
            save(path, voxels_of(path), numpy.diag([1, 1, 11.0, 1]))
        self.assert_refused(data, "c2_0000.nii: pixdim", "within 10 times")
        self.assertFalse((self.folder / "refused" / "plan.json").exists())
        self.assertEqual(self.run_main("plan", data, self.folder / "forced", "--force")[0], 0)
        model = support.random_model(preprocessing={"spacing": [1.0, 1.0, 1.0], "orientation": "RAS"}, classes=2)
        write_model(self.folder / "m.safetensors", model)
        code, _, err = self.run_main("evaluate", self.folder / "m.safetensors", data)
        self.assertEqual(code, 1)
        self.assertIn("within 10 times", err)


class Prepared(Folder):
    def shape(self):
        return numpy.load(self.folder / "run" / "preprocessed" / "c0_image.npy").shape

    def prepare(self, data):
        """`train` up to its first iteration, as a kill before the first checkpoint would leave it."""
        with mock.patch.object(trainer.Run, "run", lambda *_, **__: False):
            return self.train(data)

    def edit_plan(self):
        path = self.folder / "run" / "plan.json"
        plan = json.loads(path.read_text())
        plan["preprocessing"]["spacing"], plan["patch_size"] = [2.0, 2.0, 2.0], [8, 8, 8]
        path.write_text(json.dumps(plan))

    def test_a_changed_plan_or_file_makes_the_arrays_anew_and_nothing_else_does(self):
        data = self.make()
        self.prepare(data)
        first = self.shape()
        path = self.folder / "run" / "preprocessed" / "c0_image.npy"
        written = path.stat().st_mtime_ns
        self.prepare(data)
        self.assertEqual(path.stat().st_mtime_ns, written)
        self.edit_plan()
        _, out, _ = self.prepare(data)
        self.assertIn("anew", out)
        self.assertEqual(self.shape(), (1, *(size // 2 for size in first[1:])))
        written = path.stat().st_mtime_ns
        label = data / "labelsTr" / "c0.nii"
        values = voxels_of(label)
        values[:] = 0
        save(label, values)
        self.prepare(data)
        self.assertEqual(int(numpy.load(self.folder / "run" / "preprocessed" / "c0_labels.npy").max()), 0)
        (self.folder / "run" / "preprocessed" / "c0.json").write_text("{")
        numpy.save(path, numpy.zeros((1, 2, 2, 2), numpy.float32))
        self.prepare(data)
        self.assertEqual(self.shape(), (1, *(size // 2 for size in first[1:])))

    def test_a_plan_cannot_change_once_the_training_has_begun(self):
        data = self.make()
        self.assertEqual(self.train(data)[0], 0)
        self.edit_plan()
        code, _, err = self.train(data)
        self.assertEqual(code, 1)
        self.assertIn("plan.json", err)


class AbsentLabels(Folder):
    def test_means_are_over_what_exists(self):
        nan = float("nan")
        self.assertEqual(scores.mean([1.0, None, 0.5, nan]), 0.75)
        self.assertIsNone(scores.mean([None, nan]))
        self.assertEqual((scores.deviation([1.0, nan]), scores.deviation([]), scores.text(None)), (0.0, None, "absent"))
        self.assertAlmostEqual(scores.deviation([1.0, 2.0, 4.0]), float(numpy.std([1, 2, 4], ddof=1)))
        result = evaluate.summary({"a": {1: 0.5, 2: nan, 3: nan}, "b": {1: 1.0, 2: 0.25, 3: nan}}, {"1": "x"})
        self.assertEqual((result["mean"], result["labels"]["1"]["mean"]), (0.5, 0.75))
        self.assertEqual([result["labels"][key]["cases"] for key in "123"], [2, 1, 0])
        self.assertIsNone(result["labels"]["3"]["mean"])
        with self.assertRaises(ValueError):
            files.write_json(self.folder / "x.json", {"a": nan})

    def test_a_run_without_a_label_in_validation_ends_with_a_model(self):
        data = self.make(labels=("background", "box", "nowhere"))
        for path in (data / "labelsTr").iterdir():  # no foreground at all: nothing that training could be scored on
            save(path, numpy.zeros(SHAPE, numpy.uint8))
        original = trainer.inference.predict
        background = torch.zeros(3)
        background[0] = 1

        def predict(network, image, *arguments, **named):
            return background.view(3, 1, 1, 1) + torch.zeros_like(original(network, image, *arguments, **named))

        with mock.patch.object(trainer.inference, "predict", predict):
            code, out, err = self.train(data, "run", "--validate-every", "1")
        self.assertEqual(code, 0, err)
        self.assertIn("nowhere", err)
        self.assertIn("validation Dice absent (absent, absent)", out)
        self.assertNotIn("nan", (self.folder / "run" / "log.csv").read_text())
        written = read_model(self.folder / "run" / "model.safetensors").configuration["provenance"]["scores"]
        self.assertEqual(written["validation_dice"], {"mean": None, "box": None, "nowhere": None})
        if os.path.exists(PROGRAM):
            subprocess.run([PROGRAM, "info", str(self.folder / "run" / "model.safetensors")], check=True, capture_output=True)
        self.assertEqual(self.train(data)[0], 0, "the same command again")


class References(Folder):
    def test_evaluate_reads_as_training_does(self):
        data = self.make(cases=1)
        write_model(self.folder / "m.safetensors", support.random_model(classes=2, patch_size=[4, 8, 8]))
        label = data / "labelsTr" / "c0.nii"
        values = voxels_of(label).astype(numpy.int16)

        def score():
            path = self.folder / "s.json"
            code, _, err = self.run_main("evaluate", self.folder / "m.safetensors", data, "--no-mirroring", "--json", path)
            return json.loads(path.read_text())["mean"] if code == 0 else err

        expected = score()
        self.assertGreater(expected, 0)
        values[:2] = 257  # another structure, which must not become the model's label 1
        save(label, values)
        self.assertEqual(score(), expected)
        flipped = numpy.diag([-1.0, 1, 1, 1])
        flipped[0, 3] = SHAPE[0] - 1
        save(label, values[::-1].copy(), flipped)
        self.assertEqual(score(), expected)
        save(label, values * numpy.float32(0.99999))
        self.assertEqual(score(), expected)
        save(label, values * numpy.float32(0.5))
        self.assertIn("c0.nii: voxel", score())


class HeldBack(Folder):
    def test_what_an_initial_model_held_back_is_held_back_again(self):
        """Another seed must not validate on what the first training learned from, also when the run is continued."""
        data = self.make(cases=6)
        self.run_main("train", data, self.folder / "first", *QUICK, "--seed", "1")
        model = self.folder / "first" / "model.safetensors"
        first = read_model(model).configuration["provenance"]["training"]["validation_cases"]
        self.assertEqual(len(first), 1)
        cases = dataset.find_cases(data, 1)
        seed = next(seed for seed in range(2, 50)
                    if [case.name for case in dataset.split_cases(cases, 1, seed)[1]] != first)
        again = ("train", data, self.folder / "second", *QUICK, "--seed", str(seed), "--from", model)
        for _ in range(2):
            self.run_main(*again)
            second = read_model(self.folder / "second" / "model.safetensors")
            self.assertEqual(second.configuration["provenance"]["training"]["validation_cases"], first)
        training, validation = dataset.split_cases(cases, 1, seed, first + ["of another set"])
        self.assertEqual([case.name for case in validation], first)
        self.assertEqual(len(training), 5)
        self.assertEqual(len(dataset.split_cases(cases, 2, seed, ["of another set"])[1]), 2)
        self.assertEqual(dataset.split_cases(cases, 0, seed, first)[1], [])

    def test_an_initial_model_that_held_nothing_back_is_remarked_on(self):
        """Nothing tells then whether it learned from the cases that are to score what comes of it."""
        data = self.make(cases=6)
        quick = list(QUICK)
        quick[quick.index("--validation-cases") + 1] = "0"
        self.run_main("train", data, self.folder / "all", *quick, "--seed", "1")
        model = self.folder / "all" / "model.safetensors"
        self.assertEqual(read_model(model).configuration["provenance"]["training"]["validation_cases"], [])
        code, out, _ = self.run_main("train", data, self.folder / "next", *QUICK, "--seed", "1", "--from", model)
        self.assertEqual(code, 0)
        self.assertIn("remark: ", out)
        self.assertIn("held back", out)
        code, out, _ = self.run_main("train", data, self.folder / "none", *quick, "--seed", "1", "--from", model)
        self.assertEqual(code, 0)
        self.assertNotIn("held back", out)


class Planned(Folder):
    def test_mixed_orientations_are_none(self):
        data = self.make()
        self.run_main("plan", data, self.folder / "one")
        for folder, name in (("imagesTr", "c2_0000.nii"), ("labelsTr", "c2.nii")):
            path = data / folder / name
            save(path, voxels_of(path), numpy.diag([-1.0, -1, 1, 1]))
        self.run_main("plan", data, self.folder / "two")
        found = [json.loads((self.folder / run / "plan.json").read_text())["preprocessing"]["orientation"]
                 for run in ("one", "two")]
        self.assertEqual(found, ["RAS", None])


if __name__ == "__main__":
    unittest.main()
