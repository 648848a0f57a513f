"""The program's bare network against the original implementation's logits: the small networks and the full-size one."""

import json
import os
import subprocess
import tempfile
import unittest

import numpy as np

import support
from e2enet_model_file import write_model
from golden_network import network

PROGRAM = os.environ.get("E2ENET_PROGRAM", os.path.join(support.ROOT, "build", "release", "bin", "e2enet"))
TOLERANCES = {"A": 1e-4, "B": 5e-4, "C": 1e-4, "D": 1e-4}


@unittest.skipUnless(os.path.exists(PROGRAM), "needs the program: set E2ENET_PROGRAM to build/PRESET/bin/e2enet")
@unittest.skipUnless(os.path.isdir(support.GOLDEN), support.NEEDS_GOLDEN)
class GoldenNetworks(unittest.TestCase):
    def forward(self, folder, model, values, *options):
        paths = [os.path.join(folder, name) for name in ("model.safetensors", "x.npy", "y.npy")]
        write_model(paths[0], model)
        np.save(paths[1], values)
        subprocess.run([PROGRAM, "forward", "-m", paths[0], "-i", paths[1], "-o", paths[2], "--quiet", *options], check=True)
        return np.load(paths[2])

    def test_logits_are_the_originals(self):
        for name, tolerance in TOLERANCES.items():
            with self.subTest(name=name), tempfile.TemporaryDirectory() as folder:
                golden = os.path.join(support.GOLDEN, f"net_{name}")
                with open(os.path.join(golden, "meta.json"), encoding="utf-8") as file:
                    model = network(json.load(file))
                truth = os.path.join(golden, "logits_from_f64.npy.gz")
                if not os.path.exists(truth):
                    truth = os.path.join(golden, "logits.npy.gz")
                found = self.forward(folder, model, support.load(os.path.join(golden, "input.npy.gz"))[0])
                difference = np.abs(found - support.load(truth)[0]).max()
                self.assertLess(difference, tolerance)

    def test_inner_nodes_of_the_full_size_network_are_the_originals(self):
        golden = os.path.join(support.GOLDEN, "net_C")
        with open(os.path.join(golden, "meta.json"), encoding="utf-8") as file:
            model = network(json.load(file))
        values = support.load(os.path.join(golden, "input.npy.gz"))[0]
        for node in ((2, 3), (3, 1)):
            with self.subTest(node=node), tempfile.TemporaryDirectory() as folder:
                found = self.forward(folder, model, values, "--node", f"{node[0]},{node[1]}")
                expected = support.load(os.path.join(golden, f"node_x{node[0]}_{node[1]}.npy.gz"))[0]
                self.assertLess(np.abs(found - expected).max(), 1e-4)


if __name__ == "__main__":
    unittest.main()
