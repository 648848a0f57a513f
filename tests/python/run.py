#!/usr/bin/env python3
"""Runs the Python tests; those that were skipped are counted and named at the end.

    run.py [-p PATTERN] [-v]

Where E2ENET_SKIPPED_FILE names a file, a line for each skipped test is appended to it, as the C++ tests do. Exit code: 0 if
nothing failed; 1 if something did, or if no test was found.
"""

import argparse
import os
import sys
import unittest


class Result(unittest.TextTestResult):
    """A class or a module that is skipped as a whole counts as each of its tests, not as one or none."""

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        path = os.environ.get("E2ENET_SKIPPED_FILE")
        if path:
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"python: {test.id()}: {reason}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-p", "--pattern", default="test*.py", help="files to run (default test*.py)")
    parser.add_argument("-v", "--verbose", action="store_true", help="name every test")
    options = parser.parse_args()
    folder = os.path.dirname(os.path.abspath(__file__))
    suite = unittest.TestLoader().discover(folder, options.pattern)
    result = unittest.TextTestRunner(resultclass=Result, verbosity=1 + options.verbose).run(suite)
    for test, reason in result.skipped:
        print(f"skipped: {test.id()}: {reason}", file=sys.stderr)
    if result.testsRun == 0:
        print(f"run.py: error: no test matches {options.pattern} in {folder}", file=sys.stderr)
        return 1
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
