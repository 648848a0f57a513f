"""benchmarks/plot_density draws what compare_onnxruntime wrote, and refuses what it did not."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from xml.etree import ElementTree

import support

SCRIPT = os.path.join(support.ROOT, "benchmarks", "plot_density")


def comparison(density, seconds, flops, peer=None):
    contenders = [{"name": "e2enet, f32", "seconds": [seconds, seconds * 1.2], "peak_bytes": 1}]
    if peer:
        contenders.append({"name": "ONNX Runtime, 2D graph, arena on", "seconds": [peer], "peak_bytes": 1})
    return {"title": f"density {density}", "density": density, "patch": [64, 64, 64], "flops_executed": flops,
            "contenders": contenders}


RESULTS = {"processor": "some processor", "instruction_set": "AVX2", "threads": 2,
           "comparisons": [comparison(0.1, 1.0, 3e11, 20.0), comparison(0.2, 1.5, 5e11, 21.0), comparison(1.0, 4.0, 2e12),
                           {**comparison(0.2, 0.01, 1e9, 0.04), "density": None}]}


class PlotDensity(unittest.TestCase):
    def draw(self, text):
        with tempfile.TemporaryDirectory() as folder:
            results, plot = os.path.join(folder, "results.json"), os.path.join(folder, "plot.svg")
            with open(results, "w", encoding="utf-8") as file:
                file.write(text)
            run = subprocess.run([sys.executable, SCRIPT, results, plot], capture_output=True, text=True,
                                 env={**os.environ, "MPLCONFIGDIR": folder})
            drawn = None
            if os.path.exists(plot):
                with open(plot, "rb") as file:
                    drawn = file.read()
            self.assertEqual([name for name in os.listdir(folder) if name.endswith(".svg")], ["plot.svg"] if drawn else [])
            return run, drawn

    def test_it_draws_the_same_file_from_the_same_figures(self):
        run, first = self.draw(json.dumps(RESULTS))
        self.assertEqual(run.returncode, 0, run.stderr)
        ElementTree.fromstring(first)  # well-formed
        self.assertIn(b"ONNX Runtime", first)
        self.assertEqual(self.draw(json.dumps(RESULTS))[1], first)

    def test_what_it_cannot_draw_is_refused_in_one_line(self):
        without_dense = {**RESULTS, "comparisons": RESULTS["comparisons"][:2]}
        without_flops = {**RESULTS, "comparisons": [comparison(0.1, 1.0, None), comparison(1.0, 4.0, 2e12)]}
        for text, expected in (("{", "expected what compare_onnxruntime --json writes"), ("[]", "expected what"),
                               (json.dumps(without_dense), "the dense network"), (json.dumps(without_flops), "FLOPs")):
            run, drawn = self.draw(text)
            self.assertEqual(run.returncode, 1)
            self.assertIsNone(drawn)
            self.assertIn("results.json", run.stderr)
            self.assertIn(expected, run.stderr)
            self.assertEqual(len(run.stderr.splitlines()), 1, run.stderr)


if __name__ == "__main__":
    unittest.main()
