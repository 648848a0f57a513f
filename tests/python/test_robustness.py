"""Heads as other scanners give them: the changes of benchmarks/robustness are what they say, and what they may cost."""

import importlib.machinery
import importlib.util
import json
import os
import subprocess
import unittest

import numpy as np

import support

PROGRAM = os.environ.get("E2ENET_PROGRAM", os.path.join(support.ROOT, "build", "release", "bin", "e2enet"))
MODEL = os.path.join(support.ROOT, "models", "brain_density20.safetensors")
HEADS = os.path.join(support.SHARED, "data", "brain", "train")
# Not of the test set, which is for reporting: what is tested is not how good the answers are but what a change costs.
CASE = "IXI034"

# The most of mean Dice over all structures that a change may cost on this head.
MOST_LOST = {
    "voxels of 1 mm": 0.02,
    "slices of 3 mm, 1 x 1 mm within": 0.06,
    "turned by 20 degrees about left-right": 0.08,
    "turned by 20 degrees about the body's axis": 0.08,
    "axes LAS": 0.0,
    "axes ARI": 0.0,
    "lower third missing": 0.04,
    "left third missing": 0.04,
    "bias field, up to 2 times": 0.04,
    "noise of 8%": 0.04,
    "no skull": 0.04,
}


def load_benchmark():
    path = os.path.join(support.ROOT, "benchmarks", "robustness")
    loader = importlib.machinery.SourceFileLoader("robustness", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("robustness", loader))
    loader.exec_module(module)
    return module


robustness = load_benchmark()


def centre_of_mass(head):
    """In millimetres."""
    indices = np.indices(head.voxels.shape).reshape(3, -1)
    weights = head.voxels.reshape(-1).astype(np.float64)
    return head.affine[:3, :3] @ ((indices * weights).sum(axis=1) / weights.sum()) + head.affine[:3, 3]


class Variations(unittest.TestCase):
    def setUp(self):
        # Axes P, S, R, as the heads have them, and a blob that is nowhere in the middle.
        affine = np.array([[0, 0, 2, -30.0], [-2, 0, 0, 40.0], [0, 2, 0, -20.0], [0, 0, 0, 1]])
        grid = np.indices((32, 36, 28))
        distance = ((grid - np.array([14, 20, 16])[:, None, None, None]) ** 2).sum(axis=0)
        self.head = robustness.Head(100 * np.exp(-distance / 18.0), affine)
        self.reference = robustness.Head(distance < 16, affine)

    def test_the_anatomy_stays_where_it_is(self):
        for what, change in robustness.VARIATIONS:
            changed = change(self.head, self.reference, np.random.default_rng(1))
            with self.subTest(what):
                self.assertTrue(np.isfinite(changed.voxels).all())
                if "noise" in what or "bias" in what or "missing" in what:
                    continue
                np.testing.assert_allclose(centre_of_mass(changed), centre_of_mass(self.head), atol=0.1)

    def test_the_named_side_is_missing(self):
        for direction, axis, sign in (("R", 0, 1), ("L", 0, -1), ("A", 1, 1), ("P", 1, -1), ("S", 2, 1), ("I", 2, -1)):
            with self.subTest(direction):
                changed = robustness.cut(self.head, direction, 0.25)
                corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]).T

                def reach(head):
                    ends = np.array([*np.array(head.voxels.shape) - 1, 1])[:, None]
                    return sign * (head.affine @ (corners * ends))[axis]

                self.assertLess(reach(changed).max(), reach(self.head).max() - 10)
                self.assertAlmostEqual(reach(changed).min(), reach(self.head).min())

    def test_a_perfect_answer_scores_one_in_every_grid(self):
        for what, change in robustness.VARIATIONS:
            if any(word in what for word in ("noise", "bias", "skull")):
                continue
            # The labels themselves, nearest voxel by nearest voxel on the changed grid.
            like = change(self.head, self.reference, np.random.default_rng(1))
            answer = self.reference.on(like.affine, like.voxels.shape, order=0)
            dice = robustness.scores(self.reference, answer, [1])[1]
            with self.subTest(what):
                self.assertIsNotNone(dice)
                self.assertGreater(dice, 0.85 if "3 mm" in what or "turned" in what else 0.999)

    def test_what_is_mostly_outside_is_left_out(self):
        without = robustness.cut(self.reference, "S", 0.6)
        self.assertIsNone(robustness.scores(self.reference, without, [1])[1])


@unittest.skipUnless(os.path.exists(PROGRAM), "needs the program: set E2ENET_PROGRAM to build/PRESET/bin/e2enet")
@unittest.skipUnless(os.path.isdir(HEADS), "needs the shared data: set E2ENET_SHARED")
class RealHead(unittest.TestCase):
    def test_what_a_change_costs(self):
        info = json.loads(subprocess.run([PROGRAM, "info", MODEL, "--json"], check=True, stdout=subprocess.PIPE).stdout)
        labels = [int(label) for label in info["configuration"]["labels"] if label != "0"]
        head = robustness.load(robustness.find(os.path.join(HEADS, "images"), CASE))
        reference = robustness.load(robustness.find(os.path.join(HEADS, "labels"), CASE))
        chosen = [one for one in robustness.VARIATIONS if one[0] == "as it is" or one[0] in MOST_LOST]
        self.assertEqual(len(chosen), len(MOST_LOST) + 1)
        plain = None
        for what, dice, warnings in robustness.measure(PROGRAM, MODEL, head, reference, labels, CASE, chosen):
            if plain is None:
                plain = dice
                self.assertEqual(warnings, 0, "a head like those of the training is no reason for a warning")
                self.assertGreater(np.mean([dice[label] for label in labels]), 0.8)
                continue
            both = [label for label in labels if dice[label] is not None]
            lost = np.mean([plain[label] - dice[label] for label in both])
            with self.subTest(what):
                self.assertGreater(len(both), 20)
                self.assertLessEqual(lost, MOST_LOST[what])


if __name__ == "__main__":
    unittest.main()
