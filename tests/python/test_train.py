"""The training recipe: python3 tests/python/test_train.py (needs PyTorch, SciPy and nibabel)."""
import csv
import gzip
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

import nibabel  # noqa: E402
import numpy  # noqa: E402
import torch  # noqa: E402
from scipy import ndimage  # noqa: E402

from e2enet_model_file import read_model, write_model  # noqa: E402
from e2enet_train import augment, dataset, dsff, export, inference, loss, machine, network  # noqa: E402
from e2enet_train import planning, preprocess, sampling, threads, trainer  # noqa: E402
from e2enet_train.settings import OPTIMIZER_DEFAULTS  # noqa: E402

DATA = ROOT / "tests" / "data"
SHARED = Path(os.environ.get("E2ENET_SHARED", ROOT.parent / "shared"))

torch.set_num_threads(2)


def small_architecture(**changes):
    values = {"input_channels": 1, "classes": 3, "base_features": 4, "pool_strides": [(1, 2, 2), (2, 2, 2)],
              "patch_size": (8, 16, 16), **changes}
    return network.Architecture(**values)


def load_array(path):
    if path.suffix == ".gz":
        with gzip.open(path, "rb") as file:
            return numpy.load(file)
    return numpy.load(path)


class DepthLast(unittest.TestCase):
    """Blocks on (B, D, H, W, C) tensors against vectors of the original implementation."""

    def operation(self, name):
        return torch.from_numpy(load_array(DATA / "ops" / f"{name}.npy"))

    @staticmethod
    def channels_last(x):
        return x.permute(0, 2, 3, 4, 1).contiguous()

    def test_a_block_equals_the_original_for_every_stride_and_chunk_size(self):
        blocks = json.loads((DATA / "ops" / "meta.json").read_text())["blocks"]
        self.assertGreaterEqual(len(blocks), 7)
        for name, entry in blocks.items():
            weight = self.operation(name + "_w")
            if weight.dim() == 5:
                weight = weight[:, :, 0]
            block = network.DepthShiftBlock(weight.shape[1], weight.shape[0], 5, tuple(entry["stride"]))
            block.load_state_dict({"weight": weight, "norm_weight": self.operation(name + "_gamma"),
                                   "norm_bias": self.operation(name + "_beta")})
            y = block(self.channels_last(self.operation(name + "_x"))).permute(0, 4, 1, 2, 3)
            expected = self.operation(name + "_y")
            self.assertEqual(y.shape, expected.shape, name)
            self.assertLess(float((y - expected).abs().max()), 1e-4, name)

    def test_transposed_convolution_and_pooling_equal_the_original(self):
        for kernel in ("122", "222"):
            x, w = self.operation(f"up_{kernel}_x"), self.operation(f"up_{kernel}_w")
            y = network.transposed_convolution(self.channels_last(x), w.transpose(0, 1)).permute(0, 4, 1, 2, 3)
            self.assertLess(float((y - self.operation(f"up_{kernel}_y")).abs().max()), 1e-5, kernel)
            x = self.operation(f"maxpool_{kernel}_x")
            stride = [int(digit) for digit in kernel]
            y = network.max_pooling(self.channels_last(x), stride).permute(0, 4, 1, 2, 3)
            self.assertTrue(torch.equal(y, self.operation(f"maxpool_{kernel}_y")), kernel)

    def test_the_shift_of_a_concatenation_equals_shifting_what_was_concatenated(self):
        generator = torch.Generator().manual_seed(3)
        for channels, groups, depth, step in (((4,), 5, 6, 1), ((1,), 5, 4, 1), ((7, 5, 3), 5, 7, 1), ((6, 6), 3, 5, 2),
                                              ((3, 9), 7, 2, 1), ((2, 2, 2), 5, 1, 1), ((11,), 11, 9, 3)):
            parts = [torch.randn(2, depth, 2, 3, c, generator=generator, dtype=torch.float64, requires_grad=True)
                     for c in channels]
            whole = torch.cat(parts, -1)
            expected = torch.zeros_like(whole)
            for first, last, shift in network.shift_chunks(sum(channels), groups):
                for d in range(depth):
                    if 0 <= d - shift < depth:
                        expected[:, d, :, :, first:last] = whole[:, d - shift, :, :, first:last]
            expected = expected[:, ::step]
            result = network.shifted_concatenation(parts, groups, step)
            context = f"channels {channels}, groups {groups}, depth {depth}, step {step}"
            self.assertTrue(torch.equal(result, expected), context)
            weight = torch.randn(result.shape, generator=generator, dtype=torch.float64)
            for part, a, b in zip(parts, torch.autograd.grad((result * weight).sum(), parts),
                                  torch.autograd.grad((expected * weight).sum(), parts)):
                self.assertTrue(torch.equal(a, b), context)

    def test_gradients_agree_with_finite_differences(self):
        architecture = small_architecture(base_features=2, patch_size=(4, 8, 8), pool_strides=[(2, 2, 2)])
        net = network.E2ENet(architecture).double()
        net.initialise(1)
        net.precision = torch.float64
        x = torch.randn(1, 1, 4, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

        def value():
            # Head.forward makes float32 of the logits, so the last node is what double precision can be checked on.
            return sum((node * torch.linspace(-1, 1, node.numel()).view_as(node)).sum()
                       for node in net.nodes(x).values())

        value().backward()
        for name, parameter in net.named_parameters():
            if parameter.grad is None:
                self.assertTrue(name.startswith("head."), name)
                continue
            flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
            index = int(gradient.abs().argmax())
            before, step = float(flat[index]), 1e-6
            flat[index] = before + step
            high = float(value())
            flat[index] = before - step
            low = float(value())
            flat[index] = before
            numeric = (high - low) / (2 * step)
            self.assertLess(abs(numeric - float(gradient[index])), 1e-4 * max(1.0, abs(numeric)), name)

    def test_whole_networks_equal_the_original(self):
        for name in ("net_A", "net_B", "net_D"):
            net = export.network_of(read_model(DATA / "networks" / f"{name}.safetensors"))
            x = torch.from_numpy(load_array(DATA / "networks" / f"{name}_input.npy.gz"))
            x = x.reshape(1, net.architecture.input_channels, *net.architecture.patch_size)
            with torch.no_grad():
                y = net(x, heads=1)[0]
            expected = torch.from_numpy(load_array(DATA / "networks" / f"{name}_logits_from_f64.npy.gz"))
            self.assertLess(float((y - expected.view_as(y)).abs().max()), 1e-4, name)


class SparseFusion(unittest.TestCase):
    def setUp(self):
        generator = torch.Generator().manual_seed(5)
        self.weight = torch.nn.Parameter(torch.randn(12, 20, 3, 3, generator=generator))
        self.mask = dsff.random_masks({"w": self.weight}, {"w": 0.3}, 7)["w"]
        with torch.no_grad():
            dsff.apply_mask(self.weight, self.mask)

    def test_the_initial_density_is_the_one_asked_for(self):
        self.assertEqual(int(self.mask.sum()), round(0.3 * 12 * 20))

    def test_an_update_drops_the_smallest_and_grows_zeros_where_nothing_was(self):
        old_mask, old_weight = self.mask.clone(), self.weight.detach().clone()
        moved = dsff.drop_and_grow(self.weight, self.mask, 0.4, seed=1)
        dropped, grown = old_mask & ~self.mask, ~old_mask & self.mask
        kept = int(old_mask.sum())
        self.assertEqual(moved, int(0.4 * kept))
        self.assertEqual(int(self.mask.sum()), kept)
        self.assertEqual(int(dropped.sum()), moved)
        self.assertEqual(int(grown.sum()), moved)
        norms = old_weight.abs().sum((2, 3))
        self.assertLessEqual(float(norms[dropped].max()), float(norms[old_mask & self.mask].min()))
        self.assertEqual(float(self.weight.detach()[grown].abs().max()), 0.0)
        self.assertEqual(float(self.weight.detach()[dropped].abs().max()), 0.0)
        self.assertTrue(torch.equal(self.weight.detach()[old_mask & self.mask], old_weight[old_mask & self.mask]))

    def test_another_density_keeps_the_largest_or_grows_zeros(self):
        old_mask, old_weight = self.mask.clone(), self.weight.detach().clone()
        dsff.resize(self.weight, self.mask, 30, seed=1)
        dropped = old_mask & ~self.mask
        self.assertEqual(int(self.mask.sum()), 30)
        self.assertTrue(bool((self.mask <= old_mask).all()))
        norms = old_weight.abs().sum((2, 3))
        self.assertLessEqual(float(norms[dropped].max()), float(norms[self.mask].min()))
        dsff.check_masks({"w": self.weight}, {"w": self.mask})
        kept = self.weight.detach().clone()
        dsff.resize(self.weight, self.mask, 12 * 20, seed=1)
        self.assertTrue(bool(self.mask.all()))
        self.assertTrue(torch.equal(self.weight.detach(), kept))
        dsff.resize(self.weight, self.mask, 12 * 20, seed=1)
        self.assertTrue(bool(self.mask.all()))

    def test_a_dense_layer_has_nothing_to_move(self):
        mask = torch.ones(12, 20, dtype=torch.bool)
        before = self.weight.detach().clone()
        self.assertEqual(dsff.drop_and_grow(self.weight, mask, 0.5, 1), 0)
        self.assertTrue(torch.equal(before, self.weight))
        self.assertTrue(mask.all())

    def test_the_drop_fraction_falls_by_a_cosine(self):
        self.assertAlmostEqual(dsff.drop_fraction(0.0), 0.5)
        self.assertAlmostEqual(dsff.drop_fraction(0.5), (0.5 + 0.001) / 2)
        self.assertAlmostEqual(dsff.drop_fraction(1.0), 0.001)
        self.assertAlmostEqual(dsff.drop_fraction(1.5), 0.001)

    def test_training_keeps_absent_kernels_at_zero_and_the_density_constant(self):
        for optimizer in OPTIMIZER_DEFAULTS:
            for average in (0.0, 0.9):
                with self.subTest(optimizer=optimizer, average=average):
                    self.absent_kernels_stay_zero(optimizer, average)

    def absent_kernels_stay_zero(self, optimizer, average):
        settings = trainer.Settings(iterations=12, update_interval=3, density=0.25, learning_rate=0.05, average=average,
                                    optimizer=optimizer, layer_density={"fusion.0": 0.5})
        training = trainer.Training(small_architecture(), settings)
        counts = {name: int(mask.sum()) for name, mask in training.masks.items()}
        self.assertEqual(counts["fusion.0.1.0.weight"], round(0.5 * 4 * 8))
        self.assertEqual(counts["up.0.1.weight"], round(0.25 * 4 * 8))
        first = {name: mask.clone() for name, mask in training.masks.items()}
        generator = torch.Generator().manual_seed(1)
        moves = 0
        while not training.finished:
            image = torch.randn(2, 1, 8, 16, 16, generator=generator)
            _, moved, _ = training.step(image, (image[:, 0] > 0.5).long())
            moves += moved
            for name, weight in training.weights.items():
                absent = ~training.masks[name]
                moments = training.moments(weight)
                self.assertEqual(sorted(moments), ["exp_avg", "exp_avg_sq"] if optimizer == "adamw"
                                 else ["momentum_buffer"])
                averaged = training.averaged.get_parameter(name).detach()
                self.assertEqual(torch.equal(averaged, weight.detach()), average == 0.0)
                for values in (weight.detach(), averaged, *moments.values()):
                    self.assertEqual(float(values[absent].abs().sum()), 0.0, f"{name}, iteration {training.iteration}")
                self.assertEqual(int(training.masks[name].sum()), counts[name])
        self.assertGreater(moves, 0)
        self.assertTrue(any(not torch.equal(first[name], training.masks[name]) for name in first))

    def test_a_layer_that_does_not_exist_is_refused(self):
        with self.assertRaisesRegex(ValueError, "fusion.9"):
            trainer.Training(small_architecture(), trainer.Settings(iterations=1, layer_density={"fusion.9": 0.5}))


class Threads(unittest.TestCase):
    def test_a_thread_is_given_up_for_every_core_that_others_hold(self):
        self.assertEqual([threads.threads_for(others, 2) for others in (0.0, 0.3, 0.7, 1.0, 2.0, 9.0)],
                         [2, 2, 1, 1, 1, 1])
        self.assertEqual([threads.threads_for(others, 8) for others in (0.2, 1.1, 7.9)], [8, 7, 1])

    def test_busy_time_is_everything_but_idling_and_waiting(self):
        self.assertEqual(threads.busy_seconds("cpu  100 20 30 9999 888 4 6 0 0 0\ncpu0 1 2", 10.0), 16.0)

    def test_a_fixed_number_stays(self):
        before = torch.get_num_threads()
        self.addCleanup(torch.set_num_threads, before)
        cores = threads.FreeCores(1)
        cores.follow()
        self.assertEqual((torch.get_num_threads(), cores.adaptive), (1, False))


class MatrixProducts(unittest.TestCase):
    REFERENCE = "7f00-7f01 r-xp 00000000 fe:00 1   /usr/lib/x86_64-linux-gnu/blas/libblas.so.3.11.0\n"
    OTHERS = "7f00-7f01 rw-p 00000000 00:00 0\n7f02-7f03 r-xp 00000000 fe:00 2   /usr/lib/python3/torch/lib/libtorch_cpu.so\n"

    def test_the_reference_library_is_told_from_fast_ones(self):
        self.assertEqual(machine.reference_blas(self.OTHERS + self.REFERENCE),
                         "/usr/lib/x86_64-linux-gnu/blas/libblas.so.3.11.0")
        fast = "7f04-7f05 r-xp 0 fe:00 3   /usr/lib/x86_64-linux-gnu/openblas-openmp/libopenblasp-r0.3.21.so\n"
        self.assertIsNone(machine.reference_blas(self.OTHERS + fast))
        self.assertIsNone(machine.reference_blas(self.REFERENCE + fast))
        self.assertIsNone(machine.reference_blas(self.OTHERS))


class Loss(unittest.TestCase):
    def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_much(self):
        labels = torch.randint(0, 3, (2, 8, 8, 8), generator=torch.Generator().manual_seed(1))
        target = torch.stack([(labels == k).float() for k in range(3)], 1)
        self.assertLess(float(loss.dice_and_cross_entropy(target * 100, target)), 1e-3)
        self.assertGreater(float(loss.dice_and_cross_entropy(-target * 100, target)), 50)

    def test_dice_and_cross_entropy_by_hand(self):
        # Two voxels, two classes, equal logits: p = 1/2. Cross-entropy ln 2; Dice = 2 * 0.5 / (1 + 1) = 0.5.
        logits = torch.zeros(1, 2, 1, 1, 2)
        target = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 2, 1, 1, 2)
        self.assertAlmostEqual(float(loss.dice_and_cross_entropy(logits, target)), math.log(2) + 0.5, places=4)

    def test_weights_halve_and_sum_to_one(self):
        weights = loss.deep_supervision_weights(3)
        self.assertAlmostEqual(sum(weights), 1.0)
        self.assertAlmostEqual(weights[0], 2 * weights[1])
        self.assertAlmostEqual(weights[1], 2 * weights[2])


class Augmentation(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        generator = numpy.random.default_rng(2)
        self.pairs = []
        for index, shape in enumerate(((10, 20, 18), (6, 15, 24))):
            labels = (ndimage.gaussian_filter(generator.standard_normal(shape), 2) > 0.02).astype(numpy.uint8)
            image = (labels + 0.1 * generator.standard_normal(shape)).astype(numpy.float32)[None]
            paths = self.folder / f"{index}_image.npy", self.folder / f"{index}_labels.npy"
            numpy.save(paths[0], image)
            numpy.save(paths[1], labels)
            self.pairs.append(tuple(str(path) for path in paths))

    def source(self, **changes):
        values = {"classes": 2, "patch": (8, 16, 16), "batch": 3, "seed": 4, **changes}
        return augment.TrainingBatches(self.pairs, sampling.foreground_voxels(self.pairs), **values)

    def test_a_batch_depends_on_seed_and_iteration_alone(self):
        source = self.source()
        late = source[90][0]
        for iteration in range(5):
            source[iteration]
        self.assertTrue(torch.equal(source[90][0], late))
        self.assertFalse(torch.equal(source[91][0], late))
        self.assertFalse(torch.equal(self.source(seed=5)[90][0], late))

    def test_image_and_labels_move_together(self):
        source = self.source(intensity=False)
        for iteration in range(40):
            image, labels = source[iteration]
            self.assertEqual(image.shape, (3, 1, 8, 16, 16))
            self.assertEqual(labels.dtype, torch.int64)
            inside, outside = image[:, 0][labels == 1], image[:, 0][labels == 0]
            if len(inside) and len(outside):
                self.assertGreater(float(inside.mean() - outside.mean()), 0.5, f"iteration {iteration}")

    def test_the_identity_samples_the_voxels_themselves(self):
        image = torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(1))
        labels = torch.randint(0, 3, (5, 6, 7), generator=torch.Generator().manual_seed(2))
        x, y = augment.sample_affine(image, labels, [2.0, 2.5, 3.0], numpy.eye(3), (5, 6, 7))
        self.assertLess(float((x - image).abs().max()), 1e-5)
        self.assertTrue(torch.equal(y, labels))

    def test_a_quarter_turn_turns(self):
        image = torch.arange(25.0).view(1, 1, 5, 5)
        matrix = augment.rotation_matrix([math.pi / 2, 0, 0])
        x, _ = augment.sample_affine(image, torch.zeros(1, 5, 5, dtype=torch.int64), [0, 2, 2], matrix, (1, 5, 5))
        turned = [torch.rot90(image, k, (2, 3)) for k in (1, 3)]
        self.assertLess(min(float((x - t).abs().max()) for t in turned), 1e-4)

    def test_gamma_keeps_mean_and_deviation(self):
        x = torch.rand(6, 7, 8, generator=torch.Generator().manual_seed(1)) * 5 - 1
        for inverted in (False, True):
            y = augment.gamma(x, 1.4, inverted)
            self.assertAlmostEqual(float(y.mean()), float(x.mean()), places=4)
            self.assertAlmostEqual(float(y.std()), float(x.std()), places=4)
            self.assertGreater(float((x - y).abs().max()), 0.05)

    def test_blur_equals_the_one_of_scipy(self):
        x = torch.rand(9, 8, 7, generator=torch.Generator().manual_seed(1))
        expected = ndimage.gaussian_filter(x.numpy(), 0.8, mode="nearest", radius=3)
        self.assertLess(float(numpy.abs(augment.gaussian_blur(x, 0.8).numpy() - expected).max()), 1e-5)


class Planning(unittest.TestCase):
    def test_poolings_stop_at_four_voxels_and_wait_for_coarse_axes(self):
        self.assertEqual(planning.plan_poolings((36, 50, 35), (1, 1, 1)), [[2, 2, 2]] * 3)
        self.assertEqual(planning.plan_poolings((20, 160, 160), (5, 1, 1)),
                         [[1, 2, 2]] * 2 + [[2, 2, 2]] * 2 + [[1, 2, 2]])

    def test_the_patch_is_a_multiple_of_its_poolings_and_within_the_limit(self):
        for shape, spacing in (((36, 50, 35), (1, 1, 1)), ((200, 300, 310), (2, 1.5, 1.5)),
                               ((12, 240, 250), (8, 1, 1))):
            for limit in (20000, 90000, 2000000):
                patch, strides = planning.plan_patch(shape, spacing, limit)
                self.assertLessEqual(numpy.prod(patch), limit, (shape, limit))
                self.assertFalse((numpy.array(patch) % numpy.prod(strides, axis=0)).any(), (shape, limit))
        self.assertEqual(planning.plan_patch((36, 50, 35), (1, 1, 1), 2000000)[0], [40, 56, 40])

    def test_the_target_spacing_of_a_coarse_axis_is_its_tenth_percentile(self):
        spacings = numpy.array([[z, 1.0, 1.0] for z in numpy.linspace(4, 8, 11)])
        shapes = numpy.array([[20, 200, 200]] * 11)
        self.assertAlmostEqual(planning.target_spacing(spacings, shapes)[0], 4.4)
        shapes = numpy.array([[100, 200, 200]] * 11)
        self.assertAlmostEqual(planning.target_spacing(spacings, shapes)[0], 6.0)


@unittest.skipUnless((SHARED / "golden" / "prep").is_dir(), "no shared golden/prep folder (set E2ENET_SHARED)")
class Preprocessing(unittest.TestCase):
    def test_every_recorded_case_is_reproduced(self):
        folder = SHARED / "golden" / "prep"
        cases = json.loads((folder / "cases.json").read_text())
        for name in ("ct_iso_down", "ct_to_aniso", "t1_iso_down_mask", "t1_two_mask", "t1_half", "ct_z_half",
                     "ct_axis2_transposed", "t1_axis1", "t1_ctscheme_mask"):
            entry = cases[name]
            data = load_array(folder / f"src_{entry['source']}.npy.gz").astype(numpy.float32)
            data = data if data.ndim == 4 else data[None]
            normalization = [{"scheme": entry["scheme"], "use_mask": entry["use_mask_for_norm"]} for _ in data]
            for channel, values in zip(normalization, entry["intensityproperties"] or []):
                channel.update({"clip": [values["percentile_00_5"], values["percentile_99_5"]], "mean": values["mean"],
                                "sd": values["sd"]})
            preprocessing = {"spacing": entry["target_spacing_transposed_frame"], "normalization": normalization,
                             "transpose_forward": entry["transpose_forward"], "orientation": None}
            volume = preprocess.Volume(data, tuple(entry["original_spacing"]), "RAS")
            result, _, geometry = preprocess.preprocess(volume, preprocessing)
            self.assertEqual(list(result.shape[1:]), list(entry["size_after_resampling"])[-3:], name)
            every = entry["normalised_saved_every"]
            expected = load_array(folder / f"{name}_normalised.npy.gz")
            found = result[:, ::every, ::every, ::every]
            self.assertLess(float(numpy.abs(found - expected).max()), 2e-3, name)
            if (folder / f"{name}_inv_softmax.npy.gz").exists():
                probabilities = load_array(folder / f"{name}_inv_softmax.npy.gz")
                labels = preprocess.labels_to_volume(probabilities, geometry, preprocessing)
                expected = load_array(folder / f"{name}_inv_label.npy.gz")
                self.assertEqual(labels.shape, expected.shape, name)
                self.assertLess(float((labels != expected).mean()), 1e-4, name)


class Tiles(unittest.TestCase):
    def test_starts(self):
        self.assertEqual(inference.tile_starts(40, 16, 0.5), [0, 8, 16, 24])
        self.assertEqual(inference.tile_starts(100, 64, 0.5), [0, 18, 36])
        self.assertEqual(inference.tile_starts(90, 64, 0.5), [0, 26])
        self.assertEqual(inference.tile_starts(64, 64, 0.5), [0])
        self.assertEqual(inference.tile_starts(3, 1, 0.5), [0, 0, 1, 2, 2])
        for step in (1e-12, 0, -0.5, 1.5, math.nan, math.inf, 0.0155):
            with self.subTest(step=step), self.assertRaisesRegex(ValueError, "^step: expected"):
                inference.tile_starts(100, 64, step)

    def test_a_pointwise_network_gives_the_same_in_one_tile_or_many_and_mirrored(self):
        image = numpy.random.default_rng(1).standard_normal((1, 9, 21, 17)).astype(numpy.float32)

        def pointwise(x):
            return torch.cat([x, -2 * x, x * x], dim=1)

        expected = torch.softmax(pointwise(torch.from_numpy(image)[None]), 1)[0]
        for patch, axes in (((16, 24, 24), ()), ((4, 8, 8), ()), ((4, 8, 32), (0, 2))):
            result = inference.predict(pointwise, image, patch, mirror_axes=axes)
            self.assertLess(float((result - expected).abs().max()), 1e-5, (patch, axes))

    def test_dice_by_hand(self):
        a = numpy.array([1, 1, 0, 2, 0])
        b = numpy.array([1, 0, 0, 2, 2])
        self.assertAlmostEqual(inference.dice(a, b, 1), 2 / 3)
        self.assertAlmostEqual(inference.dice(a, b, 2), 2 / 3)
        self.assertTrue(math.isnan(inference.dice(a, b, 3)))


def make_dataset(folder, cases=6):
    """Blobs of two brightnesses on noise."""
    generator = numpy.random.default_rng(0)
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    for index in range(cases):
        shape = (16 + index % 3, 17, 9 + index % 2)
        field = ndimage.gaussian_filter(generator.standard_normal(shape), 2.5)
        labels = (field > numpy.percentile(field, 75)).astype(numpy.uint8)
        labels[field < numpy.percentile(field, 25)] = 2
        image = (numpy.array([0, 80, -80])[labels] + 15 * generator.standard_normal(shape) + 200).astype(numpy.float32)
        affine = numpy.diag([1.0, 1.0, 1.5, 1.0])
        nibabel.save(nibabel.Nifti1Image(image, affine), folder / "imagesTr" / f"blob_{index:02d}_0000.nii.gz")
        nibabel.save(nibabel.Nifti1Image(labels, affine), folder / "labelsTr" / f"blob_{index:02d}.nii.gz")
    (folder / "dataset.json").write_text(json.dumps(
        {"name": "blobs", "licence": "none", "channel_names": {"0": "MRI"},
         "labels": {"background": 0, "low": 1, "high": 2}}))


class WholeRuns(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        make_dataset(cls.folder / "data")

    def command(self, output, *more, iterations=24):
        return [sys.executable, "-m", "e2enet_train", "train", str(self.folder / "data"), str(self.folder / output),
                "--base-features", "4", "--iterations", str(iterations), "--update-interval", "5", "--density", "0.3",
                "--validation-cases", "2", "--validate-every", "10", "--threads", "1", "--precision", "float32", *more]

    def run_command(self, command, expected=0):
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        self.assertEqual(result.returncode, expected, result.stdout + result.stderr)
        return result

    def test_a_run_killed_at_any_moment_continues_to_the_same_model(self):
        self.run_command(self.command("whole"))
        expected = read_model(self.folder / "whole" / "model.safetensors")
        # SIGKILL wherever the process happens to be, several times, with a checkpoint after every iteration.
        command = self.command("killed", "--checkpoint-minutes", "0")
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
        moments = random.Random(1)
        kills = 0
        checkpoint = self.folder / "killed" / "checkpoint.pt"
        for _ in range(3):
            before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                while process.poll() is None and (
                        not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
                    pass
                process.wait(moments.uniform(0.0, 0.15))
            except subprocess.TimeoutExpired:
                kills += 1
            process.kill()
            process.wait()
        self.assertGreater(kills, 0, "the run was over before it could be killed")
        self.run_command(command)
        found = read_model(self.folder / "killed" / "model.safetensors")
        self.assertEqual(sorted(found.tensors), sorted(expected.tensors))
        for name, values in expected.tensors.items():
            self.assertTrue(numpy.array_equal(values, found.tensors[name]), name)
        with open(self.folder / "killed" / "log.csv", newline="") as file:
            iterations = [int(row["iteration"]) for row in csv.DictReader(file)]
        self.assertEqual(iterations, sorted(set(iterations)))

    def test_ctrl_c_saves_and_says_how_to_continue(self):
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
        process = subprocess.Popen(self.command("stopped", iterations=100000), env=environment, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        log = self.folder / "stopped" / "log.csv"
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if log.exists() and len(log.read_text().splitlines()) > 1:
                break
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1, output + errors)
        self.assertIn("the same command continues", output)
        self.assertNotIn("Traceback", errors)
        state = torch.load(self.folder / "stopped" / "checkpoint.pt")
        self.assertIn(f"stopped at iteration {state['iteration']}", output)

    def test_settings_cannot_change_within_a_run(self):
        self.run_command(self.command("settled", iterations=4))
        result = self.run_command(self.command("settled", iterations=5), expected=1)
        self.assertIn("iterations", result.stderr)

    def test_the_model_file_holds_the_network_its_plan_and_its_scores(self):
        training = trainer.Training(small_architecture(), trainer.Settings(iterations=5, density=0.3))
        for name, parameter in training.network.named_parameters():
            if "norm" in name:
                parameter.data.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
        # A kernel that has just grown is zero, and is part of the network all the same.
        name, weight = next(iter(training.weights.items()))
        pair = tuple(torch.nonzero(training.masks[name])[0].tolist())
        weight.data[pair] = 0
        plan = {"preprocessing": {"spacing": [1.0, 1.0, 1.0], "transpose_forward": [0, 1, 2], "orientation": "RAS",
                                  "normalization": [{"scheme": "nonCT", "use_mask": False}]}}
        model = export.model_of(training.network, training.masks, plan, {0: "background", 1: "a", 2: "b"}, [2],
                                {"scores": {"x": 1.0}})
        path = self.folder / "round.safetensors"
        write_model(path, model)
        again = read_model(path)
        self.assertEqual(again.configuration["provenance"], {"scores": {"x": 1.0}})
        masks = export.masks_of(again)
        for key, mask in training.masks.items():
            self.assertTrue(torch.equal(mask, masks[key]), key)
        denser = trainer.Training(small_architecture(), trainer.Settings(iterations=5, density=1.0, initial_model="m"))
        denser.start_from(again)
        self.assertTrue(all(bool(mask.all()) for mask in denser.masks.values()))
        for (key, a), b in zip(training.network.named_parameters(), denser.network.parameters()):
            self.assertTrue(torch.equal(a, b), key)
        sparser = trainer.Training(small_architecture(), trainer.Settings(
            iterations=5, initial_model="m", layer_density={"fusion": 0.1}))
        sparser.start_from(again)
        sparser.check_masks()
        for key, mask in training.masks.items():
            kept = round(0.1 * mask.numel()) if key.startswith("fusion") else int(mask.sum())
            self.assertEqual(int(sparser.masks[key].sum()), kept, key)
            self.assertTrue(bool((sparser.masks[key] <= mask).all()), key)
        other = trainer.Training(small_architecture(), trainer.Settings(iterations=5, initial_model="m", seed=8))
        other.start_from(again)
        for key, mask in training.masks.items():
            self.assertTrue(torch.equal(mask, other.masks[key]), key)
        for (key, a), b in zip(training.network.named_parameters(), other.network.parameters()):
            self.assertTrue(torch.equal(a, b), key)
        with self.assertRaisesRegex(ValueError, "base_features"):
            trainer.Training(small_architecture(base_features=5), trainer.Settings(iterations=5)).start_from(again)
        net = export.network_of(again)
        for (key, a), b in zip(training.network.named_parameters(), net.parameters()):
            self.assertTrue(torch.equal(a, b), key)

    def test_a_short_training_learns_and_evaluate_agrees(self):
        self.run_command(self.command("learns", "--learning-rate", "0.02", "--momentum", "0.9", "--density", "0.5",
                                      iterations=120))
        model = read_model(self.folder / "learns" / "model.safetensors")
        score = model.configuration["provenance"]["scores"]["validation_dice"]["mean"]
        self.assertGreater(score, 0.4)
        path = self.folder / "scores.json"
        self.run_command([sys.executable, "-m", "e2enet_train", "evaluate", "--threads", "1", "--no-mirroring",
                          "--json", str(path), str(self.folder / "learns" / "model.safetensors"), str(self.folder / "data")])
        result = json.loads(path.read_text())
        self.assertEqual(result["cases"], 6)
        names = model.configuration["provenance"]["training"]["validation_cases"]
        by_case = numpy.mean([list(result["by_case"][name].values()) for name in names])
        self.assertAlmostEqual(by_case, score, places=4)

    def test_missing_images_are_named(self):
        broken = self.folder / "broken"
        shutil.copytree(self.folder / "data", broken)
        (broken / "imagesTr" / "blob_03_0000.nii.gz").unlink()
        with self.assertRaisesRegex(dataset.DatasetError, "blob_03"):
            dataset.find_cases(broken, 1)


def find_program():
    candidates = [os.environ.get("E2ENET_PROGRAM"), shutil.which("e2enet", path=os.pathsep.join(
        str(path) for path in sorted(ROOT.glob("build*")) + sorted(ROOT.glob("build*/*"))))]
    return next((path for path in candidates if path), None)


@unittest.skipUnless(find_program(), "no e2enet program (build it, or set E2ENET_PROGRAM)")
class AgreementWithTheLibrary(unittest.TestCase):
    def test_a_trained_network_gives_the_same_logits_in_both(self):
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        paths = sorted((ROOT / "models").glob("*.safetensors"))
        if not paths:
            self.skipTest("no models are shipped")
        for path in paths:
            model = read_model(path)
            shape = [model.configuration["input_channels"], *model.configuration["patch_size"]]
            x = ndimage.gaussian_filter(numpy.random.default_rng(1).standard_normal(shape), [0, 2, 2, 2])
            x = (x / x.std()).astype(numpy.float32)
            numpy.save(folder / "x.npy", x)
            subprocess.run([find_program(), "forward", "-m", str(path), "-i", str(folder / "x.npy"), "-o",
                            str(folder / "y.npy")], check=True, timeout=300)
            with torch.no_grad():
                expected = export.network_of(model)(torch.from_numpy(x)[None], heads=1)[0][0].numpy()
            found = numpy.load(folder / "y.npy")
            self.assertEqual(found.shape, expected.shape)
            self.assertLess(float(numpy.abs(found - expected).max()), 1e-4 * max(1.0, float(numpy.abs(expected).max())),
                            path.name)


if __name__ == "__main__":
    unittest.main()
