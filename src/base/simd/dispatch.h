// Which instruction set the code that is compiled for several of them uses: the best that processor and build have, or
// the one that the environment variable E2ENET_TARGET names. Decided once, before the first kernel is made; a kernel
// keeps the one it was made with.
#pragma once

#include <string>
#include <vector>

namespace e2enet::simd {

// Names that this processor and build offer, best first ("AVX3", "AVX2", "SSE4", "SSSE3", "SCALAR").
std::vector<std::string> available_instruction_sets();

// Whoever makes a kernel, or calls one that nobody makes, calls this first. Throws Error (invalid_argument) where
// E2ENET_TARGET names an instruction set that is not available. Thread-safe.
void prepare_dispatch();

// For tests and benchmarks: kernels made from now on use this instruction set. Throws as prepare_dispatch() does.
void use_instruction_set(const std::string& name);

// The one that was chosen ("AVX3", "AVX2", ...).
const char* instruction_set();

}  // namespace e2enet::simd
