#!/usr/bin/env bash
# The browser edition's tests, from a fresh clone: the package in Node.js, the page in headless Chromium.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'HELP'
Installs what is missing (Debian packages; NiiVue, esbuild, playwright-core from npm, below build/), builds the native program to
compare with, the WebAssembly modules and the page, and runs their tests.

Usage: scripts/test_web.sh [--quick]

  --quick  without what takes the longest: the whole head and the five scans in the page, the five scans on one thread
  --help   print this

Screenshots are left in build/web/screenshots. Five of the scans are real ones of the folder named by E2ENET_SHARED (by default
../shared); where it is absent, those tests are skipped and the Colin27 head of Debian's mricron-data is what remains.
E2ENET_PROGRAM is the native program to compare with (default: built here).
HELP
}

quick=0
for argument in "$@"; do
  case "$argument" in
    --quick) quick=1 ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; echo "test_web: error: unknown option '$argument'" >&2; exit 2 ;;
  esac
done

step() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

step "Packages"
scripts/install_dependencies.sh web_test

if [ -z "${E2ENET_PROGRAM:-}" ]; then
  step "Native program"
  scripts/build.sh
  E2ENET_PROGRAM=$PWD/build/release/bin/e2enet
fi
export E2ENET_PROGRAM

step "Page"
scripts/web.sh --build-only

step "Types"
build/web/tools/node_modules/.bin/tsc --strict --noEmit --target es2022 --lib es2022,dom --module nodenext web/package/index.d.ts

export E2ENET_WEB_QUICK=$quick
step "Package in Node.js"
node --test web/tests/test_package.mjs
step "Page in Chromium"
node --test web/tests/test_page.mjs
step "Passed"
