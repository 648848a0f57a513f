// Signals, closed streams and readers that go away.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "program_fixture.h"

namespace {

namespace fs = std::filesystem;
using e2enet::test::read_file;
using e2enet::test::Result;
using e2enet::test::Workshop;
using e2enet::test::write_file;
using Clock = std::chrono::steady_clock;

bool has_partial_files(const Workshop& shop) {
  const auto names = shop.files();
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return name.find(".partial") != std::string::npos; });
}

// A folder whose first case takes a moment and whose second would take many minutes.
const std::vector<std::string> kLongCall = {"segment", "-m",   "model.safetensors", "-i", "in", "-o", "out", "--step",
                                            "0.125",   "--tta"};
void make_long_work(const Workshop& shop) {
  shop.make_model("model.safetensors");
  fs::create_directory(shop.path("in"));
  Workshop::make_image(shop.path("in/a.nii"));
  Workshop::make_image(shop.path("in/b.nii.gz"), 1, {200, 160, 160});
}

template <typename Condition>
void wait_until(Condition condition) {
  const auto deadline = Clock::now() + std::chrono::seconds(60);
  while (!condition() && Clock::now() < deadline) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  REQUIRE(condition());
}

TEST_CASE("every closed standard stream: no file gets its messages") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("image.nii"));
  std::string bytes = read_file(shop.path("image.nii"));
  std::fill(bytes.begin() + 352, bytes.end(), '\0');  // empty, which is warned of while the labels are written
  write_file(shop.path("empty.nii"), bytes);
  const std::vector<std::string> call = {
      "segment", "-m", "model.safetensors", "-i", "empty.nii", "-o", "labels.nii.gz", "--statistics", "s.json"};
  REQUIRE(shop.run(call).code == 0);
  const std::string labels = read_file(shop.path("labels.nii.gz"));
  for (int closed = 1; closed < 8; ++closed) {
    CAPTURE(closed);
    fs::remove(shop.path("labels.nii.gz"));
    const Result result = shop.run(call, [closed] {
      for (int descriptor = 0; descriptor < 3; ++descriptor) {
        if (closed & 1 << descriptor) close(descriptor);
      }
    });
    CHECK(read_file(shop.path("labels.nii.gz")) == labels);
    CHECK(nlohmann::json::accept(read_file(shop.path("s.json"))));
    const bool no_output = (closed & 2) != 0, no_errors = (closed & 4) != 0;
    CHECK(result.code == (no_output ? 1 : 0));  // what was to be printed is lost, and that is said
    CHECK(result.output.empty() == no_output);
    CHECK((result.errors.find("standard output") != std::string::npos) == (no_output && !no_errors));
    CHECK((result.errors.find("warning") != std::string::npos) == !no_errors);
  }
  CHECK(
      shop.run({"segment", "-m", "model.safetensors", "-i", "image.nii", "-o", "l.nii", "-q"}, [] { close(1); }).code ==
      0);
}

TEST_CASE("a terminal that is closed ends the work as SIGTERM does, unless it is ignored") {
  const Workshop shop;
  make_long_work(shop);
  for (const bool ignored : {false, true}) {
    CAPTURE(ignored);
    fs::remove_all(shop.path("out"));
    const pid_t child = shop.start(kLongCall, [ignored] {
      if (ignored) std::signal(SIGHUP, SIG_IGN);
    });
    wait_until([&] { return fs::exists(shop.path("out/a.nii.gz")) && has_partial_files(shop); });
    kill(child, SIGHUP);
    if (ignored) {
      std::this_thread::sleep_for(std::chrono::milliseconds(700));
      CHECK(has_partial_files(shop));  // it goes on
      kill(child, SIGTERM);
    }
    const Result result = shop.wait(child);
    CHECK(result.code == 1);
    CHECK(result.errors == "e2enet segment: error: interrupted\n");
    CHECK_FALSE(has_partial_files(shop));
    const auto summary = nlohmann::json::parse(read_file(shop.path("out/summary.json")));
    CHECK(summary.at("cases").size() == 1);
    CHECK(summary.at("cases_not_done") == 1);
  }
}

TEST_CASE("work stops when nobody reads its output any more, with a summary of what was done") {
  const Workshop shop;
  make_long_work(shop);
  Workshop::make_image(shop.path("in/aa.nii"));
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = shop.start(kLongCall, [&] {
    std::signal(SIGPIPE, SIG_IGN);  // as some callers leave it
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
  });
  close(ends[1]);
  char first = 0;
  CHECK(read(ends[0], &first, 1) == 1);
  close(ends[0]);
  const Result result = shop.wait(child);
  CHECK(result.code == 1);
  CHECK(result.errors.find("nobody reads") != std::string::npos);
  CHECK_FALSE(has_partial_files(shop));
  CHECK(fs::exists(shop.path("out/a.nii.gz")));
  CHECK_FALSE(fs::exists(shop.path("out/b.nii.gz")));
  const auto summary = nlohmann::json::parse(read_file(shop.path("out/summary.json")));
  CHECK(summary.at("cases").size() >= 1);
  CHECK(summary.at("cases_not_done").get<int>() >= 1);

  // A report that somebody has read enough of is no failure to talk about.
  REQUIRE(pipe(ends) == 0);
  close(ends[0]);
  const Result report = shop.run({"info", "model.safetensors"}, [&] { dup2(ends[1], STDOUT_FILENO); });
  close(ends[1]);
  CHECK(report.code == 1);
  CHECK(report.errors.empty());
}

TEST_CASE("tradeoff passes a signal on to the process that measures") {
  const Workshop shop;
  make_long_work(shop);
  fs::remove(shop.path("in/a.nii"));
  fs::create_directory(shop.path("r"));
  fs::copy_file(shop.path("in/b.nii.gz"), shop.path("r/b.nii.gz"));
  const pid_t child =
      shop.start({"tradeoff", "-m", "model.safetensors", "-i", "in", "-r", "r", "--step", "0.125", "--tta"});
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  const auto sent = Clock::now();
  kill(child, SIGTERM);
  const Result result = shop.wait(child);
  CHECK(Clock::now() - sent < std::chrono::seconds(60));
  CHECK(result.code == 1);
  CHECK(result.errors == "e2enet tradeoff: error: interrupted\n");
}

TEST_CASE("unfinished files of a run that was killed are told of and never taken for images") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  fs::create_directories(shop.path("out"));
  fs::create_directories(shop.path("in"));
  Workshop::make_image(shop.path("in/a.nii"));
  for (const char* name : {"in/.a.nii.gz.123-0.partial", "out/.a.nii.gz.123-0.partial"})
    write_file(shop.path(name), "x");
  const Result result = shop.run({"segment", "-m", "model.safetensors", "-i", "in", "-o", "out"});
  CHECK(result.code == 0);
  CHECK(result.errors.find("out: 1 unfinished") != std::string::npos);
  CHECK(nlohmann::json::parse(read_file(shop.path("out/summary.json"))).at("cases").size() == 1);
  CHECK(fs::exists(shop.path("out/.a.nii.gz.123-0.partial")));
}

}  // namespace
