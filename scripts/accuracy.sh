#!/usr/bin/env bash
# Measures the hippocampus models over the test cases and writes the figures of docs/accuracy.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -ne 1 ] || [ "$1" = --help ] || [ "$1" = -h ]; then
  cat <<'HELP'
Builds e2enet, segments and scores the test cases with every hippocampus model in models/ that has a card, and writes
docs/accuracy.csv, docs/images/accuracy.svg and the table in docs/accuracy.md.

Usage: scripts/accuracy.sh TEST

TEST   folder with images/ and labels/ of the 30 test cases
HELP
  if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then exit 0; fi
  echo "accuracy: error: expected one folder, found $# arguments" >&2
  exit 2
fi

scripts/build.sh
models=()
for card in models/hippocampus*.md; do
  model=${card%.md}.safetensors
  if [ -e "$model" ]; then models+=("$model"); fi
done
table=$(mktemp)
trap 'rm -f "$table" "$table.new"' EXIT
build/release/bin/e2enet tradeoff -m "${models[@]}" -i "$1/images" -r "$1/labels" --tta \
  --csv docs/accuracy.csv --svg docs/images/accuracy.svg --markdown "$table" --title "Hippocampus, 30 test cases"

# The table stands between two marks.
awk -v table="$table" '
  /<!-- table -->/ { print; while ((getline line < table) > 0) print line; inside = 1; next }
  /<!-- end of table -->/ { inside = 0 }
  !inside' docs/accuracy.md > "$table.new"
cat "$table.new" > docs/accuracy.md
