#!/usr/bin/env bash
# The picture of docs/dicom.md: a segmentation over its series, in the OHIF viewer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'HELP'
Makes a DICOM series of the Colin27 head (Debian's mricron-data), segments it, stores series and segmentation in an Orthanc
on the loopback interface, opens the study in the OHIF viewer in headless Chromium, and takes a picture of a slice.

Usage: scripts/dicom_picture.sh [--slice N] [OUTPUT.png]

  --slice N   which slice of the viewer's 181, from 0 (108 unless told)
  OUTPUT.png  docs/images/dicom-viewer.png unless told

Installs what is missing: Debian packages (groups build, demo and viewer of scripts/install_dependencies.sh) and npm
packages (scripts/install_viewer.sh). E2ENET_PROGRAM names a program instead of building one.
HELP
}

slice=108 output=docs/images/dicom-viewer.png
while [ $# -gt 0 ]; do
  case "$1" in
    --help | -h) usage; exit 0 ;;
    --slice)
      [[ "${2:-}" =~ ^[0-9]+$ ]] || { echo "dicom_picture: error: --slice: expected a number, found '${2:-}'" >&2; exit 2; }
      slice=$2
      shift
      ;;
    -*) usage >&2; echo "dicom_picture: error: unknown option '$1'" >&2; exit 2 ;;
    *) output=$1 ;;
  esac
  shift
done

scripts/install_dependencies.sh demo viewer
scripts/install_viewer.sh
program=${E2ENET_PROGRAM:-}
if [ -z "$program" ]; then
  scripts/build.sh
  program=build/release/bin/e2enet
fi

work=$(mktemp -d)
orthanc=
clean() {
  if [ -n "$orthanc" ]; then
    kill "$orthanc" 2>/dev/null || true
    wait "$orthanc" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap clean EXIT

head=$(dpkg-query --listfiles mricron-data | grep '/ch2.nii.gz$')
study=$(/usr/bin/python3 tests/viewer/make_series.py "$head" "$work/series")
"$program" segment -m models/brain_density20.safetensors -i "$work/series" -o "$work/segmentation.dcm"
series=$(/usr/bin/python3 -c 'import pydicom, sys; print(pydicom.dcmread(sys.argv[1]).SeriesInstanceUID)' "$work/segmentation.dcm")

ports=$(/usr/bin/python3 -c '
import socket
sockets = [socket.socket() for _ in range(2)]
for one in sockets: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))')
read -r http dicom <<<"$ports"
mkdir "$work/storage"
cat >"$work/orthanc.json" <<CONFIGURATION
{"StorageDirectory": "$work/storage", "IndexDirectory": "$work/storage", "HttpPort": $http, "DicomPort": $dicom,
 "DicomAet": "PICTURE", "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "DicomAlwaysAllowStore": true,
 "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"], "DicomWeb": {"Enable": true, "Root": "/dicom-web/"}}
CONFIGURATION
"$(PATH=$PATH:/usr/sbin command -v Orthanc)" "$work/orthanc.json" >"$work/orthanc.log" 2>&1 &
orthanc=$!
for _ in $(seq 100); do
  if echoscu -aec PICTURE 127.0.0.1 "$dicom" 2>/dev/null; then break; fi
  sleep 0.3
done
storescu -aec PICTURE 127.0.0.1 "$dicom" +sd "$work/series"
storescu --required -aec PICTURE 127.0.0.1 "$dicom" "$work/segmentation.dcm"

cat >"$work/look.json" <<OPTIONS
{"modules": "$PWD/build/npm/node_modules", "viewer": "$PWD/build/npm/ohif", "chromium": "$(command -v chromium)",
 "orthanc": "http://127.0.0.1:$http", "study": "$study", "segmentation": "$series", "picture": "$output",
 "slice": $slice, "size": {"width": 1500, "height": 1030}, "seconds": 180}
OPTIONS
node tests/viewer/look.cjs "$work/look.json"
echo "$output"
