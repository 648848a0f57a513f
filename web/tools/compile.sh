#!/usr/bin/env bash
# Compiles one file with emscripten; CMake's compiler launcher of the browser edition.
#
# What a `catch` of a type asks the C++ library goes through a variable, __wasm_lpad_context. emscripten 3.1.6's libraries for
# threads have one a thread, and clang 14 takes it for one of the whole process (later versions do not): no exception would be
# caught by its type. So a file that has such a `catch` is compiled by way of LLVM's language, in which the variable can be said
# to be a thread's, and goes on from there as it would have.
set -euo pipefail
if [ -n "${CMAKE_CXX_COMPILER_LAUNCHER:-}" ]; then "$CMAKE_CXX_COMPILER_LAUNCHER" "$@"; else "$@"; fi

object=
source=
level=
words=()
while [ $# -gt 0 ]; do
  case "$1" in
    -o) object=$2; shift ;;
    -c) source=$2; shift ;;
    *) words+=("$1")
       case "$1" in -O*) level=$1 ;; esac ;;
  esac
  shift
done
case "$source" in *.cc) ;; *) exit 0 ;; esac
if [ ! -e "$object" ] || ! llvm-nm-14 --undefined-only "$object" | grep -q ' __wasm_lpad_context$'; then exit 0; fi

language=$object.ll
trap 'rm -f "$language"' EXIT
"${words[@]}" -S -emit-llvm -o "$language" "$source"
echo '@__wasm_lpad_context = external thread_local global { i32, i8*, i32 }' >>"$language"
"${words[0]}" "$level" -msimd128 -fwasm-exceptions -pthread -Wno-unused-command-line-argument -Xclang -disable-llvm-passes -c -o "$object" "$language"
