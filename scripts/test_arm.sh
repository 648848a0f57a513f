#!/usr/bin/env bash
# The C++ tests on 64-bit ARM, on any Debian machine: cross-compiled, and run by an emulator.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Those that start the program as a process of its own (cli, embedding) need an ARM machine; api, plan and failed_allocation have not been
# tried here.
TESTS=(base kernels model image prepare labels engine tiles evaluate allocation)

usage() {
  cat <<HELP
Cross-compiles e2enet for 64-bit ARM (NEON) and runs its tests in an emulator (QEMU). Everything it makes is below
build/arm64. Emulation is correct but slow: it says nothing about speed.

Usage: scripts/test_arm.sh [TEST...]

Tests: ${TESTS[*]} (default: all of these)

Installs what is missing of Debian's g++-aarch64-linux-gnu, qemu-user, cmake and ninja-build. The ARM libraries are only
downloaded and unpacked, never installed.
HELP
}

for argument in "$@"; do
  case "$argument" in
    --help | -h) usage; exit 0 ;;
    *) if [[ " ${TESTS[*]} " != *" $argument "* ]]; then
         usage >&2
         echo "test_arm: error: expected one of ${TESTS[*]}, found '$argument'" >&2
         exit 2
       fi ;;
  esac
done
tests=("$@")
if [ $# -eq 0 ]; then tests=("${TESTS[@]}"); fi

step() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

step "Packages"
scripts/install_dependencies.sh arm

work=$PWD/build/arm64
libraries=$work/libraries
if [ ! -e "$libraries/complete" ]; then
  step "ARM libraries"
  # apt with a state of its own, in which nothing is installed yet and the machine is an ARM one.
  apt=$work/apt
  mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$libraries"
  : > "$apt/status"
  cat > "$apt/apt.conf" <<CONF
Dir::State "$apt";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt";
Dir::Cache::archives "$apt/archives";
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "";
CONF
  export APT_CONFIG=$apt/apt.conf
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends --download-only libdnnl-dev libhwy-dev libeigen3-dev libnifti2-dev \
    nlohmann-json3-dev libcli11-dev libpng-dev zlib1g-dev doctest-dev > /dev/null
  unset APT_CONFIG
  for file in "$apt"/archives/*.deb; do
    case "$(basename "$file")" in
      # The compiler brings its own.
      libc6* | libc-* | linux-libc-* | libgcc* | libgomp* | libstdc++* | gcc-*) ;;
      *) dpkg-deb --extract "$file" "$libraries" ;;
    esac
  done
  touch "$libraries/complete"
fi

step "Build"
cmake -S . -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/aarch64-linux-gnu.cmake" \
  -DE2ENET_ARM_LIBRARIES="$libraries" -DE2ENET_WARNINGS_AS_ERRORS=ON -DE2ENET_BUILD_BENCHMARKS=OFF -DE2ENET_BUILD_EXAMPLES=OFF
cmake --build "$work/build" --target e2enet "${tests[@]/#/test_}"

step "Tests"
# They take a part of their settings then.
export E2ENET_TESTS_EMULATED=1
ctest --test-dir "$work/build" --output-on-failure --tests-regex "^($(IFS='|'; echo "${tests[*]}"))\$"
