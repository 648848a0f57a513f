#!/usr/bin/env bash
# The page: builds it and serves it on this computer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'HELP'
Installs what is missing (Debian packages; NiiVue and esbuild from npm, below build/), builds the page into build/web/page, a
folder of static files, and serves it on this computer.

Usage: scripts/web.sh [--build-only] [--port N]

  --build-only  do not serve: put build/web/page on a server of yours (docs/web.md)
  --port N      serve there (8080)
  --help        print this
HELP
}

port=8080
serve=yes
while [ $# -gt 0 ]; do
  case "$1" in
    --build-only) serve=no ;;
    --port) port=${2:-}; shift ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; echo "web: error: unknown option '$1'" >&2; exit 2 ;;
  esac
  shift || true
done
if ! [[ "$port" =~ ^[0-9]+$ ]]; then
  echo "web: error: --port: expected a number, found '$port'" >&2
  exit 2
fi

scripts/build_web.sh
tools=build/web/tools
mkdir -p "$tools"
if ! cmp -s web/tools/package-lock.json "$tools/package-lock.json" || [ ! -d "$tools/node_modules/esbuild" ]; then
  echo "== npm packages ($SECONDS s)"
  cp web/tools/package.json web/tools/package-lock.json "$tools/"
  npm ci --ignore-scripts --no-audit --no-fund --prefix "$tools" || { rm -f "$tools/package-lock.json"; exit 1; }
fi
echo "== Page (build/web/page) ($SECONDS s)"
node web/tools/build_page.mjs build/web/package models "$tools/node_modules" build/web/page
if [ "$serve" = no ]; then exit 0; fi
echo "Serving on this computer, until Ctrl-C:"
exec node web/tools/serve.mjs build/web/page "$port"
