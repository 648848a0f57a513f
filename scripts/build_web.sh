#!/usr/bin/env bash
# The library as WebAssembly, and the npm package around it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ $# -gt 0 ]; then
  cat <<'HELP'
Installs what is missing of Debian's packages (group web of scripts/install_dependencies.sh), gets the sources of Highway,
zlib and nifti_clib from Debian without installing them, compiles e2enet for one and for several threads, and leaves the npm package
in build/web/package.

Usage: scripts/build_web.sh

Everything it makes is below build/web.
HELP
  if [ "$1" = --help ] || [ "$1" = -h ]; then exit 0; fi
  echo "build_web: error: expected no arguments, found '$1'" >&2
  exit 2
fi

step() { printf '== %s (%d s)\n' "$1" "$SECONDS"; }
fail() {
  echo "build_web: error: $1" >&2
  exit 1
}

step "Packages"
scripts/install_dependencies.sh web

work=$PWD/build/web
libraries=$work/libraries
mkdir -p "$work"

# What the sources must be: those of Debian 12, of Highway 1.0.3, zlib 1.2.13 and nifti_clib 3.0.1, without Debian's patches (which are about
# its build, documents and tests).
HIGHWAY=(highway highway_1.0.3.orig.tar.gz 566fc77315878473d9a6bd815f7de78c73734acdcb745c3dde8579560ac5440e)
ZLIB=(zlib zlib_1.2.13.dfsg.orig.tar.bz2 71feb7947e3c00ef125f83b79a4e529bde31171e5babe48b391f06758d1ab0a1)
NIFTI=(nifticlib nifticlib_3.0.1.orig.tar.gz 868b611b5f8a3a73809436c9072db50db4975615905f0bd5fb7b1432e6d24b37)

unpack() {  # package, file, SHA-256
  local found
  found=$(sha256sum "$work/apt/$2" | cut -d' ' -f1)
  [ "$found" = "$3" ] || fail "$2: expected SHA-256 $3, found $found"
  mkdir -p "$libraries/$1"
  tar --extract --file "$work/apt/$2" --directory "$libraries/$1" --strip-components 1
}

complete=$libraries/complete-$(printf '%s ' "${HIGHWAY[2]}" "${ZLIB[2]}" "${NIFTI[2]}" | sha256sum | cut -c1-16)
if [ ! -e "$complete" ]; then
  step "Sources of Highway, zlib and nifti_clib"
  # apt with a list and a state of its own: nothing of the system's is changed, and it need not know of sources.
  rm -rf "$libraries"
  mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial" "$libraries/include"
  keys=/usr/share/keyrings/debian-archive-keyring.gpg
  echo "deb-src [signed-by=$keys] http://deb.debian.org/debian bookworm main" >"$work/apt/sources.list"
  options=(-q -o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
           -o Dir::State::lists="$work/apt/lists" -o Dir::Cache="$work/apt" -o APT::Sandbox::User=)
  apt-get "${options[@]}" update >/dev/null
  for source in "${HIGHWAY[0]}" "${ZLIB[0]}" "${NIFTI[0]}"; do
    (cd "$work/apt" && apt-get "${options[@]}" source --download-only "$source" >/dev/null 2>apt.log) ||
      fail "apt-get could not download the source of $source: $(tail -1 "$work/apt/apt.log")"
  done
  for file in "${HIGHWAY[1]}" "${ZLIB[1]}" "${NIFTI[1]}"; do
    [ -e "$work/apt/$file" ] || fail "the source package: expected a file $file, found $(cd "$work/apt" && ls -m ./*.orig.tar.*)"
  done
  unpack "${HIGHWAY[@]}"
  unpack "${ZLIB[@]}"
  unpack "${NIFTI[@]}"
  # Headers alone: a link each, since the folder that they are in has those of this system's C library too.
  ln -sfn /usr/include/nlohmann "$libraries/include/nlohmann"
  ln -sfn /usr/include/eigen3 "$libraries/include/eigen3"
  ln -sfn ../nifticlib/nifti2 "$libraries/include/nifti"
  touch "$complete"
fi

# What emscripten needs to know, here and not in a home folder: where Debian has put LLVM and its libraries, and that these
# are all built. Node.js may come from elsewhere than Debian, and then does not find Debian's acorn by itself.
export EM_CONFIG=$work/emscripten.config
cat >"$EM_CONFIG" <<CONFIG
EMSCRIPTEN_ROOT = '/usr/share/emscripten'
LLVM_ROOT = '/usr/bin'
BINARYEN_ROOT = '/usr'
NODE_JS = '$(command -v node)'
CACHE = '/usr/share/emscripten/cache'
FROZEN_CACHE = True
LLVM_ADD_VERSION = '14'
CLANG_ADD_VERSION = '14'
CONFIG
export NODE_PATH=/usr/share/nodejs

step "Compile"
emcmake cmake -S . -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DE2ENET_WEB_LIBRARIES="$libraries" \
  -DCMAKE_CXX_COMPILER_LAUNCHER="$PWD/web/tools/compile.sh" -DE2ENET_WITH_ONEDNN=OFF \
  -DE2ENET_WITH_DICOM=OFF -DE2ENET_WITH_PNG=OFF -DE2ENET_BUILD_TESTS=OFF -DE2ENET_BUILD_BENCHMARKS=OFF \
  -DE2ENET_BUILD_EXAMPLES=OFF >"$work/configure.log" 2>&1 || { cat "$work/configure.log" >&2; fail "CMake could not configure (above)"; }
cmake --build "$work/build" --target e2enet --target e2enet-threads

step "Package (build/web/package)"
package=$work/package
rm -rf "$package"
mkdir -p "$package"
cp web/package/* LICENSE "$package/"
for module in e2enet e2enet-threads; do
  cp "$work/build/package/$module.js" "$work/build/package/$module.wasm" "$package/"
done
