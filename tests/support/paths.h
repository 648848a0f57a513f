// Where tests find what they read: files of the repository, and golden vectors that hold parts of real scans and are
// therefore not in it (E2ENET_SHARED names their folder; ../shared beside the source tree otherwise).
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "support/skip.h"

namespace e2enet::test {

inline std::string source_path(const std::string& relative) { return std::string(E2ENET_SOURCE_DIR) + "/" + relative; }

inline std::string shared_path(const std::string& relative) {
  const char* folder = std::getenv("E2ENET_SHARED");
  return (folder ? std::string(folder) : std::string(E2ENET_SOURCE_DIR) + "/../shared") + "/" + relative;
}

inline bool shared_exists(const std::string& relative) { return std::filesystem::exists(shared_path(relative)); }

}  // namespace e2enet::test

// In a test case of the suite "shared": leaves it as skipped where the shared vectors are absent.
#define E2ENET_NEEDS_SHARED(relative)                                                                          \
  do {                                                                                                         \
    e2enet::test::require_suite_shared();                                                                      \
    if (!e2enet::test::shared_exists(relative))                                                                \
      E2ENET_SKIP(e2enet::test::shared_path(relative) + " is not there (E2ENET_SHARED names another folder)"); \
  } while (false)
