// Which sanitizer a test is built with, for the few tests that cannot run under one. GCC and clang say it differently.
#pragma once

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

}  // namespace e2enet::test

#undef E2ENET_HAS_FEATURE
