// Tests that cannot run here say so and are counted: E2ENET_SKIP("why") leaves a test case as skipped, neither passed
// nor failed. A program whose every test case was skipped ends with kSkippedExitCode, which CTest reports as "Skipped";
// where E2ENET_SKIPPED_FILE names a file, a line for each is appended to it (scripts/test.sh counts and prints them).
#pragma once

#include <string>

namespace e2enet::test {

constexpr int kSkippedExitCode = 77;  // SKIP_RETURN_CODE in tests/CMakeLists.txt

void skip(const std::string& why);

// Fails the test case unless it is in the doctest suite "shared", which CTest runs as a test of its own
// (FOLDER_shared): so that what needs the shared folder is seen as skipped where the folder is absent.
void require_suite_shared();

}  // namespace e2enet::test

#define E2ENET_SKIP(why)     \
  do {                       \
    e2enet::test::skip(why); \
    return;                  \
  } while (false)
