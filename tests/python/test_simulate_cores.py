"""benchmarks/simulate_cores: threads take items in the order of the loops and wait for what these name."""

import importlib.machinery
import importlib.util
import os
import unittest

import support

LOADER = importlib.machinery.SourceFileLoader("simulate_cores", os.path.join(support.ROOT, "benchmarks", "simulate_cores"))
simulate_cores = importlib.util.module_from_spec(importlib.util.spec_from_loader("simulate_cores", LOADER))
LOADER.exec_module(simulate_cores)


def layer(name, seconds):
    return {"name": name, "seconds": seconds}


def loop(number, items, after=(), beside=(), work="bands"):
    return {"layer": number, "work": work, "items": items, "after": list(after), "beside": list(beside)}


class SimulateCores(unittest.TestCase):
    def seconds(self, layers, loops, threads):
        time, waited = simulate_cores.simulate(layers, loops, threads)
        busy = sum(one["seconds"] for one in layers)
        self.assertAlmostEqual(time * threads, busy + sum(waited.values()))
        return time

    def test_one_thread_takes_the_sum(self):
        layers = [layer("a", 6.0), layer("b", 4.0)]
        self.assertAlmostEqual(self.seconds(layers, [loop(0, 3), loop(1, 7, [0])], 1), 10.0)

    def test_equal_items_are_shared(self):
        self.assertAlmostEqual(self.seconds([layer("a", 8.0)], [loop(0, 8)], 4), 2.0)

    def test_a_loop_that_waits_begins_with_the_last_item(self):
        layers = [layer("a", 3.0), layer("b", 2.0)]
        self.assertAlmostEqual(self.seconds(layers, [loop(0, 3), loop(1, 2, [0])], 2), 3.0)

    def test_a_loop_that_does_not_wait_fills_the_gap(self):
        layers = [layer("a", 3.0), layer("b", 3.0)]
        self.assertAlmostEqual(self.seconds(layers, [loop(0, 3), loop(1, 3)], 2), 3.0)

    def test_beside_waits_for_neighbours_only(self):
        # Five items of two seconds: the thread that has none left waits for the fifth, or goes on with the first columns.
        layers = [layer("a", 10.0), layer("b", 10.0)]
        all_of_it = self.seconds(layers, [loop(0, 5), loop(1, 5, [0])], 2)
        by_columns = self.seconds(layers, [loop(0, 5), loop(1, 5, [], [0])], 2)
        self.assertAlmostEqual(all_of_it, 12.0)
        self.assertAlmostEqual(by_columns, 10.0)

    def test_a_norm_takes_no_time_of_its_step(self):
        layers = [layer("a", 4.0)]
        self.assertAlmostEqual(self.seconds(layers, [loop(0, 2), loop(0, 8, [0], work="norm")], 2), 2.0)

    def test_who_waited_is_named(self):
        _, waited = simulate_cores.simulate([layer("a", 3.0), layer("b", 2.0)], [loop(0, 3), loop(1, 2, [0])], 2)
        self.assertAlmostEqual(waited["b"], 1.0)


if __name__ == "__main__":
    unittest.main()
