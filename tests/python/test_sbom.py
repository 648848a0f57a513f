"""The SPDX document that the build makes lists what ldd shows of the library and the program."""

import hashlib
import json
import os
import re
import subprocess
import unittest

import support

PROGRAM = os.environ.get("E2ENET_PROGRAM", os.path.join(support.ROOT, "build", "release", "bin", "e2enet"))
BUILD = os.path.dirname(os.path.dirname(os.path.abspath(PROGRAM)))
SBOM = os.path.join(BUILD, "e2enet.spdx.json")


@unittest.skipUnless(os.path.exists(SBOM), "needs a whole build: set E2ENET_PROGRAM to build/PRESET/bin/e2enet")
class Sbom(unittest.TestCase):
    def test_it_lists_what_ldd_shows(self):
        with open(SBOM, encoding="utf-8") as file:
            document = json.load(file)
        self.assertEqual(document["spdxVersion"], "SPDX-2.3")
        packages = {package["name"]: package for package in document["packages"]}
        self.assertEqual(len(packages), len(document["packages"]))
        shown = {}
        for path in (PROGRAM, os.path.join(BUILD, "src", "libe2enet.so.0")):
            listing = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout
            shown.update((os.path.basename(where), where)
                         for where in re.findall(r"^\s*(?:\S+ => )?(/\S+) \(0x", listing, re.MULTILINE))
        self.assertIn("libc.so.6", shown)
        listed = {name for name, package in packages.items() if "packageFileName" in package}
        self.assertEqual(listed, set(shown))
        for name, where in shown.items():
            with open(where, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
            self.assertEqual(packages[name]["checksums"], [{"algorithm": "SHA256", "checksumValue": digest}], name)
        for name in ("nlohmann_json", "CLI11", "Eigen"):
            self.assertRegex(packages[name]["versionInfo"], r"^\d+\.\d+")
        with open(os.path.join(support.ROOT, "include", "e2enet", "version.h"), encoding="utf-8") as file:
            self.assertIn(f'#define E2ENET_VERSION "{packages["e2enet"]["versionInfo"]}"', file.read())

    def test_identifiers_are_unique_and_relationships_name_them(self):
        with open(SBOM, encoding="utf-8") as file:
            document = json.load(file)
        identifiers = [package["SPDXID"] for package in document["packages"]]
        self.assertEqual(len(set(identifiers)), len(identifiers))
        for one in identifiers:
            self.assertRegex(one, r"^SPDXRef-[A-Za-z0-9.-]+$")
        related = {relationship["relatedSpdxElement"] for relationship in document["relationships"]}
        self.assertEqual(related, set(identifiers))


if __name__ == "__main__":
    unittest.main()
