"""docs/verification.md is what scripts/verification.py makes of today's promises and tests."""

import os
import subprocess
import sys
import unittest

import support


class Verification(unittest.TestCase):
    def test_the_table_is_up_to_date(self):
        script = os.path.join(support.ROOT, "scripts", "verification.py")
        done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
