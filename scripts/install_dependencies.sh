#!/usr/bin/env bash
# Installs the Debian packages that e2enet needs and that are not there yet. Nothing else is changed or downloaded.
set -euo pipefail

usage() {
  cat <<'HELP'
Installs the Debian or Ubuntu packages that e2enet needs; those already there are left alone.

Usage: scripts/install_dependencies.sh [--list] [GROUP...]

Groups (without any: build):
  build      compiler, CMake and libraries to build the program
  demo       build, the Colin27 head with its atlas (mricron-data) and the head of NiBabel's manual (python-nibabel-doc)
  test       build and demo, and what the tests need: doctest, Google Benchmark, clang-format, Python with PyTorch
  cohort     what scripts/test_cohort.sh needs beside build: Slurm, munge, Snakemake, Chromium, NumPy
  benchmark  build, and what benchmarks/compare_onnxruntime and plot_density need: Python with NumPy and matplotlib, Node.js with npm
  viewer     what scripts/dicom_picture.sh needs, and what tests see segmentations with: a browser, Orthanc with DICOMweb
  arm        what scripts/test_arm.sh needs: cross-compiler, emulator, CMake
  web        what scripts/build_web.sh needs: emscripten, Node.js with npm, headers
  web_test   web and build, and what scripts/test_web.sh needs: Chromium and the Colin27 head
  clang      what scripts/test.sh --clang, scripts/fuzz.sh and scripts/lint.sh need: clang with its OpenMP and sanitizers' run
             times, clang-tidy

  --list     print the missing packages, one a line, and install nothing
  --help     print this

Uses sudo where the user is not root. Exit codes: 0 all there; 1 could not be installed; 2 the call was wrong.
HELP
}

fail() {
  echo "install_dependencies: error: $1" >&2
  exit "${2:-1}"
}

# docs/dependencies.md says what each is for.
BUILD=(build-essential cmake ninja-build libdnnl-dev libhwy-dev libeigen3-dev libnifti2-dev nlohmann-json3-dev libcli11-dev
       libpng-dev zlib1g-dev libdcmtk-dev libopenjp2-7-dev)
DEMO=(mricron-data python-nibabel-doc)
TEST=(abigail-tools xz-utils doctest-dev libbenchmark-dev clang-format python3 python3-numpy python3-scipy python3-nibabel python3-torch
      libopenblas0-openmp python3-pydicom dcm2niix dicom3tools dcmtk orthanc python3-matplotlib python3-pip python3-venv slurm-wlm munge)
COHORT=(slurm-wlm munge snakemake chromium python3 python3-numpy)
VIEWER=(chromium orthanc orthanc-dicomweb dcmtk python3-pydicom python3-nibabel python3-numpy)
BENCHMARK=(python3 python3-numpy python3-matplotlib ca-certificates)
ARM=(g++-aarch64-linux-gnu qemu-user cmake ninja-build)
WEB=(emscripten cmake ninja-build libeigen3-dev nlohmann-json3-dev ca-certificates)
WEB_TEST=(chromium mricron-data)
CLANG=(clang clang-tidy libomp-dev libclang-rt-dev)

wanted=()
list_only=no
for argument in "$@"; do
  case "$argument" in
    build) wanted+=("${BUILD[@]}") ;;
    demo) wanted+=("${BUILD[@]}" "${DEMO[@]}") ;;
    test) wanted+=("${BUILD[@]}" "${DEMO[@]}" "${TEST[@]}") ;;
    cohort) wanted+=("${COHORT[@]}") ;;
    benchmark | web | web_test)
      case "$argument" in
        benchmark) wanted+=("${BUILD[@]}" "${BENCHMARK[@]}") ;;
        web) wanted+=("${WEB[@]}") ;;
        web_test) wanted+=("${BUILD[@]}" "${WEB[@]}" "${WEB_TEST[@]}") ;;
      esac
      # Node.js often comes from elsewhere than Debian, with npm inside: then Debian's npm would be in its way.
      command -v node >/dev/null || wanted+=(nodejs)
      command -v npm >/dev/null || wanted+=(npm)
      ;;
    viewer) wanted+=("${VIEWER[@]}") ;;
    arm) wanted+=("${ARM[@]}") ;;
    clang) wanted+=("${BUILD[@]}" "${CLANG[@]}") ;;
    --list) list_only=yes ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; fail "unknown group or option '$argument'" 2 ;;
  esac
done
if [ ${#wanted[@]} -eq 0 ]; then wanted=("${BUILD[@]}"); fi

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  fail "this system has no apt-get: install what docs/dependencies.md lists by its own means (the names here are Debian 12's: ${wanted[*]})"
fi

missing=()
for package in $(printf '%s\n' "${wanted[@]}" | sort -u); do
  # The status of a package that dpkg has never heard of is an error, which is an answer too.
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  if [ "$status" != installed ]; then missing+=("$package"); fi
done

if [ "$list_only" = yes ]; then
  if [ ${#missing[@]} -gt 0 ]; then printf '%s\n' "${missing[@]}"; fi
  exit 0
fi
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || fail "not root, and no sudo: ask an administrator to install ${missing[*]}"
  as_root=(sudo)
fi

echo "Installing ${missing[*]}"
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" ||
  fail "apt-get could not install ${missing[*]} (its own message is above)"
