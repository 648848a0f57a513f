#!/usr/bin/env bash
# The demonstration: from a fresh clone to a segmented head, its volumes left and right, its agreement with an atlas and a picture.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -gt 0 ]; then
  cat <<'HELP'
Installs what is missing (Debian packages), builds e2enet, segments 29 structures of the whole Colin27 head, compares
left with right and what the AAL atlas has with the atlas; then a coarser head of other scanners, and the right hippocampus
alone, by a network for crops.
Everything it writes is below build/ and out/.

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
file_of() { dpkg-query --listfiles "$1" | grep "/$2\$"; }
template() {
  file_of mricron-data "$1" || {
    echo "demo: error: mricron-data: expected a file $1, found none" >&2
    exit 1
  }
}
head=$(template ch2.nii.gz)
atlas=$(template aal.nii.gz)
out=out/demo
mkdir -p "$out"

step "Segment 29 structures of the Colin27 head ($head)"
"$e2enet" segment -m models/brain_density20.safetensors -i "$head" -o "$out/head.nii.gz" \
  --preview "$out/head.png" --statistics "$out/head.json"

# Labels of the network = labels of AAL, which has odd numbers on the left: hippocampus, amygdala, caudate, putamen,
# pallidum, thalamus, each left and right.
step "Agreement with the AAL atlas (drawn by another rule; odd numbers are left)"
echo "37, 38 hippocampus; 41, 42 amygdala; 71, 72 caudate; 73, 74 putamen; 75, 76 pallidum; 77, 78 thalamus"
"$e2enet" evaluate -p "$out/head.nii.gz" -r "$atlas" \
  --match 16=37,15=38,18=41,17=42,10=71,9=72,12=73,11=74,14=75,13=76,8=77,7=78

# The head of NiBabel's manual: 2.75 mm, and its top and base are cut.
second=$(file_of python-nibabel-doc someones_anatomy.nii.gz || true)
step "A second head, of 2.75 mm (${second:-not in this version of python-nibabel-doc})"
if [ -f "$second" ]; then
  "$e2enet" segment -m models/brain_density20.safetensors -i "$second" -o "$out/second.nii.gz" \
    --preview "$out/second.png" --statistics "$out/second.json"
else
  echo "left out: systems that install no documentation do not have it"
fi

step "The right hippocampus alone, in a box, by a network that was trained on such crops"
"$e2enet" segment -m models/hippocampus_dense.safetensors -i "$head" -o "$out/hippocampus.nii.gz" \
  --roi 97:135,80:132,40:88 --tta --preview "$out/hippocampus.png" --statistics "$out/hippocampus.json"

step "Both its labels joined against the atlas (AAL label 38, drawn wider than the training data's)"
"$e2enet" evaluate -p "$out/hippocampus.nii.gz" -r "$atlas" --match 1+2=38

printf '\nLabels, pictures and statistics of each: %s\n' "$PWD/$out"
ls "$out"
