#!/usr/bin/env bash
# Measures the models of a set over its test cases and writes the figures of docs/accuracy.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'HELP'
Builds e2enet, segments and scores the test cases of a set with every model of it in models/ that has a card, and writes
docs/accuracy-SET.csv, docs/accuracy-SET-cases.csv, docs/images/accuracy-SET.svg, docs/images/accuracy-SET-structures.svg
and the set's table in docs/accuracy.md.

Usage: scripts/accuracy.sh SET TEST

SET    hippocampus (with mirroring) or brain (without)
TEST   folder with images/ and labels/ of the set's test cases
HELP
}

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  usage
  exit 0
fi
if [ $# -ne 2 ]; then
  usage >&2
  echo "accuracy: error: expected a set and a folder, found $# arguments" >&2
  exit 2
fi
set=$1
case "$set" in
  hippocampus) options=(--tta); title="Hippocampus, test cases" ;;
  brain) options=(); title="29 structures of whole heads, test cases" ;;
  *) echo "accuracy: error: expected the set hippocampus or brain, found '$set'" >&2; exit 2 ;;
esac

scripts/build.sh
# The dense model first, if there is one: the others are compared with it.
models=()
for card in "models/${set}_dense.md" $(find models -name "$set*.md" ! -name "${set}_dense.md" | sort); do
  model=${card%.md}.safetensors
  if [ -e "$card" ] && [ -e "$model" ]; then models+=("$model"); fi
done
table=$(mktemp)
predictions=$(mktemp -d)
trap 'rm -rf "$table" "$table.new" "$predictions"' EXIT
build/release/bin/e2enet tradeoff -m "${models[@]}" -i "$2/images" -r "$2/labels" "${options[@]}" \
  --csv "docs/accuracy-$set.csv" --cases-csv "docs/accuracy-$set-cases.csv" --svg "docs/images/accuracy-$set.svg" \
  --structures-svg "docs/images/accuracy-$set-structures.svg" --markdown "$table" --title "$title"

# Left and right: each structure of a pair, scored against the reference of the other side, must have nothing in common but
# what touches at the midline.
exchanged() {
  # To its end: a reader that stops early would fail the writer.
  build/release/bin/e2enet info "$1" --json | awk '
    /"mirrored_labels"/ { inside = 1 }
    inside && /[0-9]/ { gsub(/[^0-9]/, ""); if (first == "") first = $0; else { printf "%s%s=%s,%s=%s", comma, first, $0, $0, first; comma = ","; first = "" } }
    inside && /^    \]/ { inside = 0 }'
}
for model in "${models[@]}"; do
  match=$(exchanged "$model")
  if [ -z "$match" ]; then continue; fi
  name=$(basename "$model" .safetensors)
  build/release/bin/e2enet segment -m "$model" -i "$2/images" -o "$predictions/$name" "${options[@]}" --quiet
  build/release/bin/e2enet evaluate -p "$predictions/$name" -r "$2/labels" --match "$match" --csv "$predictions/$name.csv" --quiet >/dev/null
  awk -F, -v model="$name" '
    NR == 1 { for (i = 1; i <= NF; ++i) if ($i == "dice") column = i; next }
    $column > worst { worst = $column; line = $0 }
    END {
      printf "%s: the largest Dice of a structure with the other side'"'"'s reference, of %d: %.4f\n", model, NR - 1, worst
      if (NR < 2 || worst > 0.1) { print "accuracy: error: left and right are exchanged: " line > "/dev/stderr"; exit 1 }
    }' "$predictions/$name.csv"
done

# The table stands between two marks.
awk -v table="$table" -v begin="<!-- table $set -->" '
  $0 == begin { print; while ((getline line < table) > 0) print line; inside = 1; next }
  /<!-- end of table -->/ { inside = 0 }
  !inside' docs/accuracy.md > "$table.new"
cat "$table.new" > docs/accuracy.md
