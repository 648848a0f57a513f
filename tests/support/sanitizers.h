// Which sanitizer a test is built with, for the few tests that cannot run under one (GCC and clang say it differently),
// and whether tests run slowly.
#pragma once

#include <cstdlib>

#if defined(__has_feature)
#define E2ENET_HAS_FEATURE(feature) __has_feature(feature)
#else
#define E2ENET_HAS_FEATURE(feature) 0
#endif

namespace e2enet::test {

#if defined(__SANITIZE_ADDRESS__) || E2ENET_HAS_FEATURE(address_sanitizer)
constexpr bool kAddressSanitizer = true;
#define E2ENET_SANITIZED  // where the preprocessor must know
#else
constexpr bool kAddressSanitizer = false;
#endif

#if defined(__SANITIZE_THREAD__) || E2ENET_HAS_FEATURE(thread_sanitizer)
constexpr bool kThreadSanitizer = true;
#define E2ENET_SANITIZED
#else
constexpr bool kThreadSanitizer = false;
#endif

// A hundred times as slow: under the thread sanitizer, or in an emulator, where scripts/test_arm.sh sets the variable.
// Some tests then take a part of their settings.
inline bool runs_slowly() { return kThreadSanitizer || std::getenv("E2ENET_TESTS_EMULATED") != nullptr; }

}  // namespace e2enet::test

#undef E2ENET_HAS_FEATURE
