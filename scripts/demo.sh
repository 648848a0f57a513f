#!/usr/bin/env bash
# The demonstration: from a fresh clone to a segmented hippocampus, its volume, its score and a picture.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -gt 0 ]; then
  cat <<'HELP'
Installs what is missing (Debian packages), builds e2enet, segments the right hippocampus of the Colin27 head and compares
it with the AAL atlas. Everything it writes is below build/ and out/.

Usage: scripts/demo.sh
HELP
  if [ "$1" = --help ] || [ "$1" = -h ]; then exit 0; fi
  echo "demo: error: expected no arguments, found '$1'" >&2
  exit 2
fi

step() { printf '\n== %s\n' "$1"; }

step "Packages"
scripts/install_dependencies.sh demo
echo "all there"

step "Build"
scripts/build.sh
e2enet=build/release/bin/e2enet

# Where the package puts its templates is the package's business: ask it.
template() {
  local path
  path=$(dpkg-query --listfiles mricron-data | grep "/$1\$") || {
    echo "demo: error: mricron-data: expected a file $1, found none" >&2
    exit 1
  }
  echo "$path"
}
head=$(template ch2.nii.gz)
atlas=$(template aal.nii.gz)
out=out/demo
mkdir -p "$out"

step "Segment the right hippocampus of the Colin27 head ($head)"
model=models/hippocampus_dense.safetensors
"$e2enet" segment -m "$model" -i "$head" -o "$out/labels.nii.gz" --roi 97:135,80:132,40:88 --tta \
  --preview "$out/preview.png" --statistics "$out/statistics.json"

step "Volumes, and both labels joined against the atlas (AAL label 38, drawn wider than the training data's)"
"$e2enet" evaluate -p "$out/labels.nii.gz" -r "$atlas" --match 1+2=38

printf '\nLabels:  %s\nPreview: %s\n' "$PWD/$out/labels.nii.gz" "$PWD/$out/preview.png"
