#!/usr/bin/env bash
# Gets what tests and pictures look at segmentations with, from npm, below build/npm.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -gt 0 ]; then
  cat <<'HELP'
Gets from npm, into build/npm and nowhere else, without running any script of theirs: dcmjs (reads DICOM segmentations as
viewers in browsers do), playwright-core (drives a browser) and the OHIF viewer as it is published, a built site (50 MB).
What is there already is left alone.

Usage: scripts/install_viewer.sh
HELP
  if [ "$1" = --help ] || [ "$1" = -h ]; then exit 0; fi
  echo "install_viewer: error: expected no arguments, found '$1'" >&2
  exit 2
fi

command -v npm >/dev/null || { echo "install_viewer: error: npm is not installed" >&2; exit 1; }
mkdir -p build/npm
if [ ! -d build/npm/node_modules/dcmjs ] || [ ! -d build/npm/node_modules/playwright-core ]; then
  npm install --ignore-scripts --no-audit --no-fund --prefix build/npm dcmjs@0.52.2 playwright-core@1.65.1
fi
if [ ! -f build/npm/ohif/index.html ]; then
  rm -rf build/npm/ohif build/npm/ohif.partial
  mkdir build/npm/ohif.partial
  # Of its 1,400 dependencies none is needed: they are inside of what was built.
  (cd build/npm && npm pack --ignore-scripts --silent @ohif/app@3.13.2 >/dev/null)
  tar -xzf build/npm/ohif-app-3.13.2.tgz -C build/npm/ohif.partial --strip-components=2 package/dist
  rm build/npm/ohif-app-3.13.2.tgz
  mv build/npm/ohif.partial build/npm/ohif
fi
