"""benchmarks/bench_in_turn compares settings of one program, and refuses what it cannot run."""

import os
import subprocess
import sys
import unittest

import support

SCRIPT = os.path.join(support.ROOT, "benchmarks", "bench_in_turn")
MODEL = os.path.join(support.ROOT, "models", "hippocampus_small_density20.safetensors")
PROGRAM = os.environ.get("E2ENET_PROGRAM", os.path.join(support.ROOT, "build", "release", "bin", "e2enet"))


def bench(*arguments):
    return subprocess.run([sys.executable, SCRIPT, "-m", MODEL, *arguments], capture_output=True, text=True)


class Refusals(unittest.TestCase):
    def test_what_is_no_program_is_named(self):
        run = bench("no/such/program --threads 1")
        self.assertEqual(run.returncode, 1)
        self.assertIn("setting 'no/such/program --threads 1': expected a program, found no/such/program", run.stderr)
        self.assertEqual(run.stdout, "")

    def test_at_least_one_round(self):
        run = bench("--rounds", "0", "")
        self.assertEqual(run.returncode, 2)
        self.assertIn("expected a number of at least 1", run.stderr)


@unittest.skipUnless(os.path.exists(PROGRAM), "needs the program: set E2ENET_PROGRAM to build/PRESET/bin/e2enet")
class Turns(unittest.TestCase):
    def test_settings_are_rows_and_the_first_is_what_the_others_are_compared_with(self):
        run = bench("--program", PROGRAM, "--rounds", "2", "--runs", "1", "--", "", "E2ENET_TARGET=SCALAR --threads 1",
                    f"{PROGRAM} --algorithm direct")
        self.assertEqual(run.returncode, 0, run.stderr)
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in run.stdout.splitlines() if line.startswith("| `")]
        self.assertEqual([row[0] for row in rows],
                         ["`as it is`", "`E2ENET_TARGET=SCALAR --threads 1`", f"`{PROGRAM} --algorithm direct`"])
        self.assertEqual(rows[1][1], "SCALAR")
        self.assertNotEqual(rows[0][1], "SCALAR")
        self.assertEqual(rows[0][4], "1.000")
        # Plain C++ on one thread takes ten times as long and more.
        self.assertGreater(float(rows[1][4]), 2)
        self.assertTrue(all(float(row[2]) <= float(row[3]) and float(row[5]) > 1 for row in rows))

    def test_what_the_program_refuses_is_told(self):
        run = bench("--program", PROGRAM, "E2ENET_TARGET=none")
        self.assertEqual(run.returncode, 1)
        self.assertIn("E2ENET_TARGET", run.stderr)


if __name__ == "__main__":
    unittest.main()
