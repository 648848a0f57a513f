#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "support/skip.h"

namespace {

unsigned skipped = 0;
unsigned selected = 0;  // test cases that the command line's filters let through
std::string program;

// doctest counts the test cases; a listener is how a program learns the number.
struct Counter : doctest::IReporter {
  explicit Counter(const doctest::ContextOptions&) {}
  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats& run) override { selected = run.numTestCasesPassingFilters; }
  void test_case_start(const doctest::TestCaseData&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
};
DOCTEST_REGISTER_LISTENER("counter", 1, Counter);

}  // namespace

void e2enet::test::skip(const std::string& why) {
  ++skipped;
  MESSAGE("SKIPPED: " << why);
  if (const char* path = std::getenv("E2ENET_SKIPPED_FILE")) {
    std::ofstream file(path, std::ios::app);
    file << program << ": " << doctest::getContextOptions()->currentTest->m_name << ": " << why << std::endl;
    CHECK_MESSAGE(file.good(), "cannot write " << path);  // else nobody would count this test
  }
}

void e2enet::test::require_suite_shared() {
  const char* suite = doctest::getContextOptions()->currentTest->m_test_suite;
  REQUIRE_MESSAGE(std::strcmp(suite, "shared") == 0,
                  "a test that needs the shared folder belongs to the suite: TEST_CASE(\"...\" * "
                  "doctest::test_suite(\"shared\"))");
}

int main(int count, char** arguments) {
  program = std::filesystem::path(arguments[0]).filename().string();
  const int result = doctest::Context(count, arguments).run();
  return result == 0 && skipped > 0 && skipped == selected ? e2enet::test::kSkippedExitCode : result;
}
