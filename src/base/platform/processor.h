// What compilers call differently, and C++17 not at all.
#pragma once

#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
#include <immintrin.h>
#endif

namespace e2enet::platform {

// In a loop that waits for another thread: leaves the core's other thread more of it.
inline void pause() {
#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
  _mm_pause();
#elif defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Whether memory counts as held from when it is asked for, and not from when it is first written.
#ifdef __EMSCRIPTEN__
constexpr bool kMemoryIsHeldAtOnce = true;
#else
constexpr bool kMemoryIsHeldAtOnce = false;
#endif

// Whether memory can lie in pages larger than others, for which it is worth to begin at a multiple of their size.
#ifdef __EMSCRIPTEN__
constexpr bool kHugePages = false;
#else
constexpr bool kHugePages = true;
#endif

// Whether a file may be read by another thread than the program's first. In a browser files are the first thread's: a
// read by another waits for it, and so for ever where the first waits for that other.
#ifdef __EMSCRIPTEN__
constexpr bool kAnyThreadReadsFiles = false;
#else
constexpr bool kAnyThreadReadsFiles = true;
#endif

}  // namespace e2enet::platform

// Asks for a line to be read into the second-level cache, and not the first, which Highway's prefetch would fill. A
// macro, since GCC takes a function that does nothing else for one without effect and drops its calls: the Winograd
// kernels were a sixth slower.
#if defined(__GNUC__)
#define E2ENET_PREFETCH_TO_LEVEL2(address) __builtin_prefetch(address, 0, 2)
#elif defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
#define E2ENET_PREFETCH_TO_LEVEL2(address) _mm_prefetch(reinterpret_cast<const char*>(address), _MM_HINT_T1)
#else
#define E2ENET_PREFETCH_TO_LEVEL2(address) static_cast<void>(address)
#endif
