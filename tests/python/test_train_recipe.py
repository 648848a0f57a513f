"""What the recipe does besides the network: sides, samples, averages, masks, variations. python3 tests/python/
test_train_recipe.py (needs PyTorch, SciPy and nibabel)."""
import io
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

import nibabel  # noqa: E402
import numpy  # noqa: E402
import torch  # noqa: E402
from scipy import ndimage  # noqa: E402

from e2enet_model_file import read_model, write_model  # noqa: E402
from e2enet_train import augment, dataset, export, inference, loss, mirroring, network  # noqa: E402
from e2enet_train import sampling, trainer, variation  # noqa: E402
from e2enet_train.settings import OPTIMIZER_DEFAULTS  # noqa: E402

torch.set_num_threads(1)  # layers of a few voxels: a second thread is only waited for


def small_architecture(**changes):
    values = {"input_channels": 1, "classes": 3, "base_features": 4, "pool_strides": [(1, 2, 2), (2, 2, 2)],
              "patch_size": (8, 16, 16), **changes}
    return network.Architecture(**values)


def batch_of(generator, classes=3):
    image = torch.randn(2, 1, 8, 16, 16, generator=generator)
    return image, torch.randint(0, classes, (2, 8, 16, 16), generator=generator)


def affine_of(code):
    """A file's axes i, j, k run in the directions of these three letters, 1 mm a voxel."""
    affine = numpy.diag([0.0, 0.0, 0.0, 1.0])
    for axis, letter in enumerate(code):
        affine["RLAPSI".index(letter) // 2, axis] = 1 if letter in "RAS" else -1
    return affine


class Masks(unittest.TestCase):
    """The trap: an adaptive optimiser goes on moving kernels that were dropped, and what is validated is not what is
    exported."""

    def trained(self, **changes):
        training = trainer.Training(small_architecture(), trainer.Settings(**{"iterations": 9, "density": 0.3,
                                                                             "update_interval": 2, **changes}))
        generator = torch.Generator().manual_seed(1)
        for _ in range(5):
            training.step(*batch_of(generator))
        return training

    def test_a_value_outside_the_mask_is_refused_wherever_it_could_leave(self):
        plan = {"preprocessing": {}}
        labels = {0: "background", 1: "a", 2: "b"}
        for optimizer in OPTIMIZER_DEFAULTS:
            for which in ("network", "averaged"):
                training = self.trained(optimizer=optimizer, average=0.9)
                training.check_masks()
                training.state()
                name = "fusion.0.1.0.weight"
                outside = torch.nonzero(~training.masks[name])[3]
                with torch.no_grad():
                    getattr(training, which).get_parameter(name)[tuple(outside)][1, 1] = 1e-30
                for leave in (training.check_masks, training.state,
                              lambda: export.model_of(getattr(training, which), training.masks, plan, labels, [], {})):
                    with self.assertRaisesRegex(ValueError, name + ": expected zero outside the mask, found 1 value"):
                        leave()

    def test_the_averaged_network_is_the_running_mean_of_the_trained_ones(self):
        training = trainer.Training(small_architecture(), trainer.Settings(iterations=9, density=1.0, average=0.8))
        generator = torch.Generator().manual_seed(1)
        expected = None
        for t in range(1, 7):
            training.step(*batch_of(generator))
            now = torch.cat([p.detach().flatten() for p in training.network.parameters()])
            if expected is None:
                expected = torch.cat([p.flatten() for p in trainer.Training(
                    small_architecture(), training.settings).network.parameters()]).detach()
            decay = min(0.8, t / (t + 9.0))
            expected = decay * expected + (1 - decay) * now
            found = torch.cat([p.detach().flatten() for p in training.averaged.parameters()])
            self.assertLess(float((found - expected).abs().max()), 1e-6, t)

    def test_a_checkpoint_continues_bit_for_bit_with_every_optimiser(self):
        for optimizer, average, density in itertools.product(("adamw", "sgd"), (0.0, 0.9), (0.3, 1.0)):
            settings = trainer.Settings(iterations=8, optimizer=optimizer, average=average, density=density,
                                        update_interval=3)
            whole = trainer.Training(small_architecture(), settings)
            generator = torch.Generator().manual_seed(1)
            batches = [batch_of(generator) for _ in range(8)]
            stored = {}
            for t, batch in enumerate(batches):
                if t in (0, 3, 5):
                    file = io.BytesIO()
                    torch.save(whole.state(), file)
                    stored[t] = file
                whole.step(*batch)
            for t, file in stored.items():
                file.seek(0)
                other = trainer.Training(small_architecture(), settings)
                other.load_state(torch.load(file))
                for batch in batches[t:]:
                    other.step(*batch)
                context = f"{optimizer}, average {average}, density {density}, from {t}"
                for one, two in ((whole.network, other.network), (whole.averaged, other.averaged)):
                    for (name, a), b in zip(one.named_parameters(), two.parameters()):
                        self.assertTrue(torch.equal(a, b), f"{context}: {name}")
                for a, b in zip(whole.network.parameters(), other.network.parameters()):
                    for key, value in whole.moments(a).items():
                        self.assertTrue(torch.equal(value, other.moments(b)[key]), f"{context}: {key}")

    def test_a_checkpoint_holds_no_absent_kernel(self):
        sizes = {}
        for density in (0.1, 1.0):
            training = trainer.Training(small_architecture(base_features=16),
                                        trainer.Settings(iterations=3, density=density, optimizer="adamw"))
            training.step(*batch_of(torch.Generator().manual_seed(1)))
            file = io.BytesIO()
            torch.save(training.state(), file)
            sizes[density] = len(file.getvalue())
        self.assertLess(sizes[0.1], 0.6 * sizes[1.0])

    def test_a_checkpoint_of_another_format_is_refused(self):
        with self.assertRaisesRegex(ValueError, "format: expected 2, found None"):
            self.trained().load_state({"network": {}})

    def test_validation_sees_a_network_that_had_the_whole_interval_to_grow(self):
        training = trainer.Training(small_architecture(), trainer.Settings(iterations=9, density=0.3, update_interval=3))
        generator = torch.Generator().manual_seed(1)
        moved = [training.step(*batch_of(generator))[1] for _ in range(9)]
        self.assertEqual([count > 0 for count in moved], [False] * 3 + [True, False, False, True, False, False])


class OptimizerDefaults(unittest.TestCase):
    def test_the_papers_schedule_takes_the_papers_optimiser_and_a_short_one_adamw(self):
        paper = trainer.Settings(iterations=250000)
        self.assertEqual((paper.optimizer, paper.learning_rate, paper.momentum, paper.weight_decay,
                          paper.update_interval, paper.drop_first, paper.average),
                         ("sgd", 0.01, 0.99, 3e-5, 1200, 0.5, 0.0))
        for short in (trainer.Settings(iterations=20000), trainer.Settings(hours=2.0)):
            self.assertEqual((short.optimizer, short.learning_rate, short.momentum, short.weight_decay, short.drop_first),
                             ("adamw", 0.003, 0.9, 1e-4, 0.3))
        mixed = trainer.Settings(iterations=5, optimizer="sgd", learning_rate=0.5)
        self.assertEqual((mixed.learning_rate, mixed.momentum), (0.5, 0.99))

    def test_values_that_mean_nothing_are_refused(self):
        for values, text in (({"optimizer": "adam"}, "optimizer"), ({"average": 1.0}, "average"),
                             ({"augmentation": "none"}, "augmentation"), ({"precision": "half"}, "precision")):
            with self.assertRaisesRegex(ValueError, text):
                trainer.Settings(iterations=5, **values)


class Loss(unittest.TestCase):
    def test_the_loss_over_labels_and_its_gradient_are_those_of_the_one_over_shares(self):
        generator = torch.Generator().manual_seed(3)
        for batch, classes, present in ((1, 30, 30), (2, 3, 3), (2, 5, 2), (1, 2, 1)):
            logits = (2 * torch.randn(batch, classes, 4, 6, 8, generator=generator)).requires_grad_()
            labels = torch.randint(0, present, (batch, 4, 6, 8), generator=generator)
            shares = torch.stack([(labels == k).float() for k in range(classes)], 1)
            expected = loss.dice_and_cross_entropy(logits, shares)
            found = loss.label_loss(logits, labels)
            self.assertAlmostEqual(float(expected), float(found), places=5)
            one, = torch.autograd.grad(3 * expected, logits)
            two, = torch.autograd.grad(3 * found, logits)
            self.assertLess(float((one - two).abs().max()), 1e-5 * float(one.abs().max()) + 1e-9)

    def test_a_coarse_target_is_the_share_of_each_class(self):
        labels = torch.randint(0, 4, (2, 4, 6, 8), generator=torch.Generator().manual_seed(1))
        one_hot = torch.stack([(labels == k).float() for k in range(4)], 1)
        for shape in ((2, 3, 4), (4, 3, 4), (2, 2, 2), (4, 6, 8)):
            expected = torch.nn.functional.adaptive_avg_pool3d(one_hot, shape)
            found = loss.shares_of_labels(labels, 4, shape)
            self.assertLess(float((found - expected).abs().max()), 1e-6, shape)


class Sides(unittest.TestCase):
    NAMES = {0: "background", 1: "right thing", 2: "left thing", 3: "middle"}

    def test_the_left_right_axis_is_where_nibabel_finds_it(self):
        for letters in itertools.product("RL", "AP", "SI"):
            for places in itertools.permutations(range(3)):
                code = "".join(letters[place] for place in places)
                affine = affine_of(code)
                self.assertEqual("".join(nibabel.aff2axcodes(affine)), code)
                # The axis of the file's array that moves along x, then depth being the array's third axis.
                file_axis = int(numpy.abs(affine[0, :3]).argmax())
                for order in itertools.permutations(range(3)):
                    expected = list(order).index(2 - file_axis)
                    found = mirroring.left_right_axis({"orientation": code, "transpose_forward": list(order)})
                    self.assertEqual(found, expected, (code, order))
        self.assertIsNone(mirroring.left_right_axis({"orientation": None}))

    def test_the_axes_flipped_by_default_are_those_that_the_labels_survive(self):
        oriented, mixed = {"orientation": "PSR"}, {"orientation": None}
        self.assertEqual(mirroring.default_axes([(1, 2)], self.NAMES, oriented), [0])
        self.assertEqual(mirroring.default_axes([], {0: "background", 1: "anterior", 2: "bright"}, mixed), [0, 1, 2])
        # Vertebrae and numbered labels have no side.
        numbered = {0: "background", 1: "L1", 2: "l5", 3: "R2", 4: "left2right", 5: "rib"}
        self.assertEqual(mirroring.default_axes([], numbered, oriented), [0, 1, 2])
        for names in ({1: "Left-Hippocampus"}, {1: "hippocampus_R"}, {1: "lh cortex"}, self.NAMES):
            with self.assertRaisesRegex(mirroring.MirroringError, "mirrored_labels"):
                mirroring.default_axes([], names, oriented)
        with self.assertRaisesRegex(mirroring.MirroringError, "orientation"):
            mirroring.default_axes([(1, 2)], self.NAMES, mixed)
        with self.assertRaisesRegex(mirroring.MirroringError, "orientation"):
            mirroring.exchanging_axis([(1, 2)], [2], mixed)
        self.assertIsNone(mirroring.exchanging_axis([(1, 2)], [2], oriented))
        self.assertIsNone(mirroring.exchanging_axis([], [0], oriented))
        self.assertEqual(mirroring.exchanging_axis([(1, 2)], [0, 2], oriented), 0)

    def test_pairs_that_are_none_are_refused(self):
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        description = {"channel_names": {"0": "MRI"}, "labels": {name: value for value, name in self.NAMES.items()}}
        path = folder / "dataset.json"
        for pairs in ({}, "12", [1, 2], [[1]], [[1, 2, 3]], [[0, 1]], [[1, 4]], [[1, 1]], [[1, 2], [2, 3]], [["1", "2"]],
                      [[1.0, 2]], [[True, 2]]):
            path.write_text(json.dumps({**description, "mirrored_labels": pairs}))
            with self.assertRaisesRegex(dataset.DatasetError, "mirrored_labels", msg=str(pairs)):
                dataset.read_description(path)
        path.write_text(json.dumps({**description, "mirrored_labels": [[1, 2]]}))
        self.assertEqual(dataset.read_description(path).mirrored_labels, [(1, 2)])

    def test_the_shipped_descriptions_pair_right_with_left(self):
        paths = sorted((ROOT / "python" / "e2enet_train" / "datasets").glob("*.json"))
        self.assertGreaterEqual(len(paths), 2)
        for path in paths:
            description = dataset.read_description(path)
            pairs = [sorted(pair) for pair in description.mirrored_labels]
            by_name = {name: value for value, name in description.labels.items()}
            expected = [sorted([value, by_name[name.replace("right ", "left ")]])
                        for name, value in by_name.items() if name.startswith("right ")]
            self.assertEqual(sorted(pairs), sorted(expected), path)
            self.assertTrue({"licence", "reference"} <= set(description.provenance), path)

    def test_a_training_flip_of_the_side_axis_exchanges_the_labels_and_no_other_flip_does(self):
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        # Right is the lower half of the depth: label 1 there, 2 in the upper half, 3 on top of both.
        labels = numpy.zeros((8, 16, 16), numpy.uint8)
        labels[:4, 4:12, 4:12], labels[4:, 4:12, 4:12], labels[:, 12:14, 4:12] = 1, 2, 3
        image = numpy.arange(labels.size, dtype=numpy.float32).reshape(1, *labels.shape)
        numpy.save(folder / "image.npy", image)
        numpy.save(folder / "labels.npy", labels)
        pairs = [(str(folder / "image.npy"), str(folder / "labels.npy"))]
        for exchanging in (0, None):
            source = augment.TrainingBatches(pairs, sampling.foreground_voxels(pairs), 4, labels.shape, 1, 3, [0, 2],
                                             exchanging, [(1, 2)], spatial=False, intensity=False)
            flips = set()
            for iteration in range(30):
                x, y = (part[0].numpy() for part in source[iteration])
                flipped = bool(x[0, 0, 0, 0] > x[0, -1, 0, 0]), bool(x[0, 0, 0, 0] > x[0, 0, 0, -1])
                flips.add(flipped)
                lower = 2 if flipped[0] and exchanging is None else 1
                self.assertEqual(set(numpy.unique(y[:4, 4:12, 4:12])), {lower}, flipped)
                self.assertEqual(set(numpy.unique(y[4:, 4:12, 4:12])), {3 - lower}, flipped)
                self.assertEqual(set(numpy.unique(y[:, 12:14, 4:12])), {3})
            self.assertEqual(len(flips), 4)

    def test_mirrored_inference_exchanges_classes_where_left_and_right_change_places(self):
        # A "network" that knows a side by the place in the patch alone: class 1 in the lower half of axis 0, class 2 in
        # the upper one, wherever the image is bright. Mirroring without the exchange would average 1 and 2.
        def network_by_place(x):
            place = torch.linspace(-1, 1, x.shape[2]).view(1, 1, -1, 1, 1).expand_as(x)
            bright = 10 * x
            return torch.cat([5 - bright, bright * (place < 0), bright * (place > 0), torch.zeros_like(x)], 1)

        image = numpy.random.default_rng(1).random((1, 8, 8, 8)).astype(numpy.float32)
        plain = inference.predict(network_by_place, image, (8, 8, 8))
        configuration = {"classes": 4, "mirror_axes": [0, 2], "mirrored_labels": [[1, 2]],
                         "preprocessing": {"orientation": "PSR"}}
        exchange = mirroring.exchange_of(configuration)
        found = inference.predict(network_by_place, image, (8, 8, 8), mirror_axes=[0, 2], exchange=exchange)
        self.assertLess(float((found - plain).abs().max()), 1e-6)
        wrong = inference.predict(network_by_place, image, (8, 8, 8), mirror_axes=[0, 2])
        self.assertGreater(float((wrong - plain).abs().max()), 0.1)
        self.assertIsNone(mirroring.exchange_of({**configuration, "mirror_axes": [1, 2]}))
        self.assertIsNone(mirroring.exchange_of({"classes": 4}))


class Samples(unittest.TestCase):
    def test_a_small_structure_is_seen_as_often_as_a_large_one(self):
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        labels = numpy.zeros((40, 40, 40), numpy.uint8)
        labels[:30] = 1
        labels[35:37, 10, 10] = 3
        numpy.save(folder / "labels.npy", labels)
        foreground, = sampling.foreground_voxels([("", folder / "labels.npy")])
        self.assertEqual({value: len(voxels) for value, voxels in foreground.items()},
                         {1: sampling.VOXELS_A_CLASS, 3: 2})
        for value, voxels in foreground.items():
            self.assertEqual(set(labels[tuple(voxels.T)]), {value})
        random = numpy.random.default_rng(0)
        seen = [labels[tuple(int(c + 0.5) for c in sampling.patch_centre(random, labels.shape, (2, 2, 2), foreground))]
                for _ in range(400)]
        self.assertLess(abs(seen.count(3) - 200), 50)
        self.assertEqual(seen.count(1) + seen.count(3), 400)

    def test_a_patch_stays_inside_and_a_short_axis_is_centred_give_or_take(self):
        random = numpy.random.default_rng(0)
        for _ in range(200):
            centre = sampling.patch_centre(random, (10, 20, 6), (8, 20, 8), {1: numpy.array([[9, 0, 5]])})
            start = [c - (p - 1) / 2 for c, p in zip(centre, (8, 20, 8))]
            self.assertEqual(start[:2], [2, 0])
            self.assertIn(start[2], (-2, -1, 0))

    def test_the_last_third_of_a_batch_is_sure_of_foreground(self):
        random = numpy.random.default_rng(0)
        self.assertEqual([sampling.sure_of_foreground(random, n) for n in (2, 3, 6)],
                         [[False, True], [False, False, True], [False] * 4 + [True] * 2])
        singles = [sampling.sure_of_foreground(random, 1)[0] for _ in range(400)]
        self.assertLess(abs(sum(singles) - 300), 40)


class Variation(unittest.TestCase):
    def patch(self):
        labels = torch.zeros(24, 28, 26, dtype=torch.int64)
        labels[4:12, 8:20, 8:18], labels[12:20, 8:20, 8:18], labels[10:14, 12:16, 12:15] = 1, 2, 3
        generator = torch.Generator().manual_seed(2)
        image = torch.tensor([-1.0, 1.0, 1.0, 2.0])[labels] + 0.1 * torch.randn(labels.shape, generator=generator)
        return image[None], labels

    def test_a_transformed_label_is_the_one_of_the_largest_linear_share(self):
        generator = torch.Generator().manual_seed(1)
        labels = torch.randint(0, 5, (7, 8, 9), generator=generator)
        image = torch.randn(2, 7, 8, 9, generator=generator)
        patch = (6, 9, 8)
        for fill in (0.0, -2.0):
            matrix, displacement = augment.wide_transformation(numpy.random.default_rng(17), patch)
            self.assertIsNotNone(displacement)
            centre = [3.2, 3.5, 4.1]
            x, y = augment.sample_affine(image, labels, centre, matrix, patch, displacement, fill)
            offsets = numpy.stack(numpy.meshgrid(*[numpy.arange(n) - (n - 1) / 2 for n in patch], indexing="ij"))
            position = (numpy.einsum("ab,bdhw->adhw", matrix, offsets) + numpy.array(centre).reshape(3, 1, 1, 1)
                        + displacement.numpy())
            padded = [numpy.pad(channel.numpy(), 2, constant_values=fill) for channel in image]
            expected = [ndimage.map_coordinates(channel, position + 2, order=1, mode="nearest") for channel in padded]
            self.assertLess(float(numpy.abs(x.numpy() - numpy.stack(expected)).max()), 1e-4)
            shares = numpy.stack([ndimage.map_coordinates(numpy.pad((labels.numpy() == k).astype(float), 2,
                                                                    constant_values=float(k == 0)),
                                                          position + 2, order=1, mode="nearest") for k in range(5)])
            chosen = numpy.take_along_axis(shares, y.numpy()[None], 0)[0]
            self.assertGreater(float((chosen - shares.max(0)).min()), -1e-5)
            self.assertGreater(len(numpy.unique(y.numpy())), 3)

    def test_every_variation_is_finite_a_function_of_its_seed_and_keeps_labels_where_there_is_an_image(self):
        image, labels = self.patch()
        partner = mirroring.exchange_table([(1, 2)], 4)
        cut = 0
        for seed in range(80):
            x, y = variation.vary(image, labels, numpy.random.default_rng(seed), 4, partner)
            again, _ = variation.vary(image, labels, numpy.random.default_rng(seed), 4, partner)
            self.assertTrue(torch.equal(x, again))
            self.assertTrue(bool(torch.isfinite(x).all()), seed)
            self.assertTrue(bool(((y == labels) | (y == 0)).all()), seed)
            gone = (y == 0) & (labels > 0)
            if bool(gone.any()):
                cut += 1
                self.assertLess(float(x[0][gone].std()), 1e-5, "where labels are cut off, so is the image")
        self.assertGreater(cut, 2)
        self.assertLess(cut, 40)
        constant, _ = variation.vary(torch.zeros(1, 8, 8, 8), torch.zeros(8, 8, 8, dtype=torch.int64),
                                     numpy.random.default_rng(0), 4)
        self.assertTrue(bool(torch.isfinite(constant).all()))

    def test_grey_value_curves_rise(self):
        for seed in range(40):
            random = numpy.random.default_rng(seed)
            for curve in (variation.random_curve(random), variation.power_curve(random)):
                self.assertGreaterEqual(float(numpy.diff(curve).min()), -1e-6)
                self.assertAlmostEqual(float(curve[0]), 0.0, places=5)
                self.assertAlmostEqual(float(curve[-1]), 1.0, places=5)
        x = torch.linspace(-3, 5, 50).view(1, 1, -1)
        y = variation.apply_curve(x, numpy.linspace(0, 1, variation.CURVE_ENTRIES).astype(numpy.float32), -3.0, 4.0)
        self.assertLess(float((x - y).abs().max()), 8 / variation.CURVE_ENTRIES)

    def test_both_sides_of_a_structure_shift_alike(self):
        _, labels = self.patch()
        x = torch.zeros(labels.shape)
        partner = mirroring.exchange_table([(1, 2)], 4)
        y = variation.shift_structures(x, labels, numpy.random.default_rng(1), 4, partner, 1.0)
        one, two, three = float(y[6, 14, 10]), float(y[17, 14, 10]), float(y[11, 13, 13])
        self.assertAlmostEqual(one, two, places=4)
        self.assertGreater(abs(one - three), 0.05)
        self.assertAlmostEqual(float(y[0, 0, 0]), 0.0)

    def test_a_stripped_head_keeps_all_labels_and_loses_what_is_far(self):
        _, labels = self.patch()
        for seed in range(10):
            mask = variation.brain_mask(labels, numpy.random.default_rng(seed))
            self.assertTrue(bool(mask[labels > 0].all()))
            self.assertFalse(bool(mask[0, 0].any()))

    def test_the_blur_is_the_one_of_scipy(self):
        x = torch.rand(9, 8, 7, generator=torch.Generator().manual_seed(1))
        expected = ndimage.gaussian_filter(x.numpy(), 0.8, mode="nearest", radius=2)
        self.assertLess(float(numpy.abs(variation.blur(x, 0.8).numpy() - expected).max()), 1e-5)


class Progress(unittest.TestCase):
    def test_durations(self):
        self.assertEqual([trainer.duration(seconds) for seconds in (20, 179, 3600, 3900.0, 90000, math.nan)],
                         ["0 min", "3 min", "1 h 00 min", "1 h 05 min", "25 h 00 min", "?"])


def find_program():
    candidates = [os.environ.get("E2ENET_PROGRAM"), shutil.which("e2enet", path=os.pathsep.join(
        str(path) for path in sorted(ROOT.glob("build*")) + sorted(ROOT.glob("build*/*"))))]
    return next((path for path in candidates if path), None)


def make_sided_dataset(folder, cases=6):
    """Two blobs, right and left, between bright "eyes" that tell front from back, in PSR order as whole heads may be."""
    generator = numpy.random.default_rng(0)
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    affine = affine_of("PSR")
    grid = numpy.stack(numpy.meshgrid(*[numpy.arange(n) for n in (20, 18, 16)], indexing="ij"), -1)
    for index in range(cases):
        labels = numpy.zeros((20, 18, 16), numpy.uint8)
        middle = generator.uniform(7, 9)
        centre = numpy.array([generator.uniform(8, 12), generator.uniform(8, 10), 0])
        for value, side in ((1, 1), (2, -1)):
            place = centre + [0, 0, middle + side * generator.uniform(3.0, 4.0)]
            labels[((grid - place)**2).sum(-1) < generator.uniform(2.4, 3.0)**2] = value
        image = numpy.array([60, 160, 160])[labels] + 12 * generator.standard_normal(labels.shape)
        image[((grid - [1, 9, middle])**2).sum(-1) < 9] = 230
        nibabel.save(nibabel.Nifti1Image(image.astype(numpy.float32), affine),
                     folder / "imagesTr" / f"pair_{index}_0000.nii.gz")
        nibabel.save(nibabel.Nifti1Image(labels, affine), folder / "labelsTr" / f"pair_{index}.nii.gz")
    (folder / "dataset.json").write_text(json.dumps(
        {"name": "pairs", "licence": "none", "channel_names": {"0": "MRI"}, "mirrored_labels": [[1, 2]],
         "labels": {"background": 0, "right": 1, "left": 2}}))


class OneScore(unittest.TestCase):
    """Validation in training, evaluate in PyTorch and the program see one network and give one score."""

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        make_sided_dataset(cls.folder / "data")
        cls.python("train", cls.folder / "data", cls.folder / "run", "--base-features", "6", "--iterations", "300",
                   "--batch", "2", "--update-interval", "30", "--density", "0.4", "--learning-rate", "0.01",
                   "--validation-cases", "3", "--validate-every", "300", "--threads", "1", "--precision", "float32",
                   "--patch", "12,16,16", "--poolings", "2")
        cls.model_path = cls.folder / "run" / "model.safetensors"
        cls.model = read_model(cls.model_path)
        cls.training = cls.model.configuration["provenance"]["training"]

    @staticmethod
    def python(*arguments):
        result = subprocess.run([sys.executable, "-m", "e2enet_train", *map(str, arguments)], capture_output=True,
                                text=True, timeout=300, env={**os.environ, "PYTHONPATH": str(ROOT / "python")})
        if result.returncode != 0:
            raise AssertionError(result.stdout + result.stderr)
        return result.stdout

    def evaluate(self, *options):
        path = self.folder / "scores.json"
        self.python("evaluate", "--threads", "1", "--json", path, *options, self.model_path, self.folder / "data")
        by_case = json.loads(path.read_text())["by_case"]
        return numpy.array([list(by_case[name].values()) for name in self.training["validation_cases"]], dtype=float)

    def program(self, *options):
        rows = []
        for name in self.training["validation_cases"]:
            output = self.folder / f"{name}.nii.gz"
            subprocess.run([find_program(), "segment", "-m", str(self.model_path), "-i",
                            str(self.folder / "data" / "imagesTr" / f"{name}_0000.nii.gz"), "-o", str(output), *options],
                           check=True, capture_output=True, timeout=300)
            found = numpy.asarray(nibabel.load(str(output)).dataobj)
            reference = numpy.asarray(nibabel.load(str(self.folder / "data" / "labelsTr" / f"{name}.nii.gz")).dataobj)
            rows.append([inference.dice(found, reference, label) for label in (1, 2)])
        return numpy.array(rows)

    def test_the_sides_are_in_the_model_file_and_were_flipped_with_their_labels(self):
        self.assertEqual(self.model.configuration["mirrored_labels"], [[1, 2]])
        self.assertEqual(self.model.configuration["mirror_axes"], [0])
        self.assertEqual(self.model.configuration["preprocessing"]["orientation"], "PSR")
        self.assertEqual(self.training["optimizer"], "adamw")
        self.assertGreater(self.training["average"], 0)

    def test_training_and_evaluate_give_one_score(self):
        reported = self.model.configuration["provenance"]["scores"]["validation_dice"]
        found = self.evaluate("--no-mirroring")
        self.assertGreater(reported["mean"], 0.3)
        self.assertLess(abs(float(found.mean()) - reported["mean"]), 0.002)
        self.assertLess(float(numpy.abs(found.mean(0) - [reported["right"], reported["left"]]).max()), 0.002)

    def test_the_best_validation_can_be_exported_and_has_the_score_that_it_had(self):
        path = self.folder / "best.safetensors"
        self.python("export", self.folder / "run", path, "--dataset-json", self.folder / "data" / "dataset.json")
        best = read_model(path)
        self.assertEqual(best.configuration["provenance"]["training"]["iterations_done"], 300)
        # The only validation was at the end: the same network, and float32 both times.
        self.assertEqual(best.configuration["provenance"]["scores"], self.model.configuration["provenance"]["scores"])
        images = self.model.configuration["training_images"]
        self.assertEqual(best.configuration["training_images"], images)
        self.assertEqual(sorted(images["volumes_ml"]), ["1", "2"])
        for low, high in images["extent_mm"] + images["input_quantiles"][0] + list(images["volumes_ml"].values()):
            self.assertLessEqual(low, high)
        for name, values in self.model.tensors.items():
            self.assertTrue(numpy.array_equal(values, best.tensors[name]), name)

    @unittest.skipUnless(find_program(), "no e2enet program (build it, or set E2ENET_PROGRAM)")
    def test_evaluate_and_the_program_give_one_score_with_mirroring_and_without(self):
        for python_options, program_options in ((["--no-mirroring"], []), ([], ["--tta"])):
            expected, found = self.evaluate(*python_options), self.program(*program_options)
            self.assertLess(float(numpy.abs(found - expected).max()), 0.01, program_options)
            self.assertLess(abs(float(found.mean() - expected.mean())), 0.002, program_options)

    @unittest.skipUnless(find_program(), "no e2enet program (build it, or set E2ENET_PROGRAM)")
    def test_mirroring_tells_the_sides_apart_only_because_labels_are_exchanged(self):
        right = self.program("--tta").mean()
        broken = self.folder / "broken.safetensors"
        configuration = {key: value for key, value in self.model.configuration.items() if key != "mirrored_labels"}
        write_model(broken, type(self.model)(configuration, self.model.tensors))
        whole, self.model_path = self.model_path, broken
        self.addCleanup(setattr, self, "model_path", whole)
        without = self.program("--tta").mean()
        self.assertGreater(right, without + 0.1)


if __name__ == "__main__":
    unittest.main()
