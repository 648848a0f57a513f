// Full disks, folders that cannot be written to, images that change, Ctrl-C: a clear error, and nothing lost.
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "program_fixture.h"
#include "support/skip.h"

namespace {

namespace fs = std::filesystem;
using e2enet::test::read_file;
using e2enet::test::Result;
using e2enet::test::Workshop;
using e2enet::test::write_file;
using Clock = std::chrono::steady_clock;

// No file of the process may become larger, as on a disk that fills up.
std::function<void()> disk_with(rlim_t bytes) {
  return [bytes] {
    const rlimit limit{bytes, bytes};
    setrlimit(RLIMIT_FSIZE, &limit);
  };
}

void check_one_line(const Result& result, const std::string& named) {
  CAPTURE(result.errors);
  CHECK(result.code == 1);
  CHECK(result.errors.find(named) != std::string::npos);
  CHECK(std::count(result.errors.begin(), result.errors.end(), '\n') == 1);
}

std::vector<std::uint16_t> read_labels_of(const std::string& path) { return e2enet::imaging::read_labels(path).labels; }

bool has_partial_files(const Workshop& shop) {
  for (const std::string& name : shop.files()) {
    if (name.find(".partial") != std::string::npos) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("a disk that fills up: the file is named, what was there stays, nothing half written") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("image.nii"));
  write_file(shop.path("labels.nii"), "from before");
  write_file(shop.path("view.png"), "a picture from before");
  write_file(shop.path("p.nii"), "probabilities from before");
  const auto before = shop.files();
  const std::vector<std::string> call = {"segment", "-m", "model.safetensors", "-i", "image.nii", "-o", "labels.nii"};
  check_one_line(shop.run(call, disk_with(2000)), "labels.nii");
  CHECK(shop.files() == before);

  // Room for the labels, but not for what else was asked for: then the case is not finished.
  auto with_preview = call;
  with_preview.insert(with_preview.end(), {"--preview", "view.png"});
  check_one_line(shop.run(with_preview, disk_with(8000)), "view.png");
  auto with_probabilities = call;
  with_probabilities.insert(with_probabilities.end(), {"--probabilities", "p.nii"});
  check_one_line(shop.run(with_probabilities, disk_with(8000)), "p.nii");
  CHECK(shop.files() == before);
  CHECK(read_file(shop.path("labels.nii")) == "from before");
  CHECK(read_file(shop.path("view.png")) == "a picture from before");
  CHECK(read_file(shop.path("p.nii")) == "probabilities from before");
}

TEST_CASE("a result that cannot be printed is an error") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("image.nii"));
  const Result result =
      shop.run({"segment", "-m", "model.safetensors", "-i", "image.nii", "-o", "labels.nii", "--json"},
               [] { dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO); });
  check_one_line(result, "standard output");
  const Result device = shop.run(
      {"segment", "-m", "model.safetensors", "-i", "image.nii", "-o", "labels.nii", "--statistics", "/dev/full"});
  CHECK(device.code == 2);  // not a name that it could have
}

TEST_CASE("a folder that cannot be written to is said before the work") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("image.nii"));
  fs::create_directory(shop.path("locked"));
  fs::permissions(shop.path("locked"),
                  fs::perms::owner_read | fs::perms::owner_exec | fs::perms::others_read | fs::perms::others_exec);
  fs::permissions(shop.path(""), fs::perms::owner_all | fs::perms::others_read | fs::perms::others_exec);
  const auto before = shop.files();
  const auto as_nobody = [] {  // the superuser may write anywhere
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(126);
  };
  const Result file =
      shop.run({"segment", "-m", "model.safetensors", "-i", "image.nii", "-o", "locked/labels.nii"}, as_nobody);
  if (file.code == 127) {
    E2ENET_SKIP("the program lies where only its owner may run it");
  }
  check_one_line(file, "locked");
  fs::create_directory(shop.path("in"));
  fs::copy_file(shop.path("image.nii"), shop.path("in/a.nii"));
  check_one_line(shop.run({"segment", "-m", "model.safetensors", "-i", "in", "-o", "locked/out"}, as_nobody), "locked");
  fs::remove_all(shop.path("in"));
  CHECK(shop.files() == before);
}

TEST_CASE("an image that changes while it is read is refused by name, and nothing is written") {
  const Workshop shop;
  shop.make_model("model.safetensors", 2);
  const e2enet::Shape shape{300, 160, 160};
  Workshop::make_image(shop.path("a.nii.gz"), 1, shape);
  Workshop::make_image(shop.path("b.nii.gz"), 2, shape);
  write_file(shop.path("labels.nii.gz"), "from before");
  const auto before = shop.files();
  // Reading takes a second or so; the time of the file's last change moves on all the while.
  for (const std::string changing : {"a.nii.gz", "b.nii.gz"}) {
    CAPTURE(changing);
    const pid_t child = shop.start(
        {"segment", "-m", "model.safetensors", "-i", "a.nii.gz", "b.nii.gz", "-o", "labels.nii.gz", "--step", "1"});
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    fs::file_time_type time = fs::last_write_time(shop.path(changing));
    siginfo_t ended{};
    const auto running = [&] {
      ended.si_pid = 0;
      return waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == 0;
    };
    const auto start = Clock::now();
    while (running() && Clock::now() - start < std::chrono::seconds(60)) {
      fs::last_write_time(shop.path(changing), time += std::chrono::seconds(1));
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    const Result result = shop.wait(child);
    check_one_line(result, changing);
    CHECK(result.errors.find("changed") != std::string::npos);
    CHECK(shop.files() == before);
    CHECK(read_file(shop.path("labels.nii.gz")) == "from before");
  }
}

TEST_CASE("Ctrl-C ends the work within a tile, and nothing half written is left") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  fs::create_directory(shop.path("in"));
  Workshop::make_image(shop.path("in/a.nii"));
  Workshop::make_image(shop.path("in/b.nii.gz"), 1, {200, 160, 160});
  fs::create_directory(shop.path("out"));
  write_file(shop.path("out/b.nii.gz"), "from before");
  // Tiles so close that the second case would take many minutes.
  const std::vector<std::string> one = {
      "segment", "-m", "model.safetensors", "-i", "in/b.nii.gz", "-o", "out/b.nii.gz", "--step", "0.125", "--tta"};
  const std::vector<std::string> all = {"segment", "-m",   "model.safetensors", "-i", "in", "-o", "out", "--step",
                                        "0.125",   "--tta"};
  for (const bool folder : {false, true}) {
    const int signal = folder ? SIGTERM : SIGINT;
    // While the image is prepared, and among the tiles.
    for (const int milliseconds : {100, 1200}) {
      CAPTURE(folder);
      CAPTURE(signal);
      CAPTURE(milliseconds);
      fs::remove(shop.path("out/summary.json"));
      const pid_t child = shop.start(folder ? all : one);
      const auto deadline = Clock::now() + std::chrono::seconds(60);
      while (shop.files().count("out/a.nii.gz") == 0 && folder && Clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      while (!has_partial_files(shop) && Clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      REQUIRE(has_partial_files(shop));
      std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
      const auto sent = Clock::now();
      kill(child, signal);
      const Result result = shop.wait(child);
      CHECK(Clock::now() - sent < std::chrono::seconds(10));
      check_one_line(result, "interrupted");
      CHECK_FALSE(has_partial_files(shop));
      CHECK(read_file(shop.path("out/b.nii.gz")) == "from before");
      CHECK(shop.files().count("out/a.nii.gz") == (folder ? 1 : 0));
      CHECK(shop.files().count("out/summary.json") == (folder ? 1 : 0));
      if (folder) {
        const auto summary = nlohmann::json::parse(read_file(shop.path("out/summary.json")));
        CHECK(summary.at("cases").size() == 1);
        fs::remove(shop.path("out/a.nii.gz"));
      }
    }
  }
}

TEST_CASE("a folder's summary says what became of each case, in parts and when going on") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  fs::create_directory(shop.path("in"));
  for (const std::string name : {"a", "c", "d"}) Workshop::make_image(shop.path("in/" + name + "_0000.nii.gz"), 5);
  write_file(shop.path("in/b_0000.nii.gz"), "no image");
  const auto segment = [&](const std::vector<std::string>& more) {
    std::vector<std::string> call = {"segment", "-m", "model.safetensors", "-i", "in", "-o", "out", "--json"};
    call.insert(call.end(), more.begin(), more.end());
    return shop.run(call);
  };
  const Result part = segment({"--part", "2/2"});  // b and d
  CHECK(part.code == 1);
  CHECK(part.errors.find("1 of 2 cases failed") != std::string::npos);
  CHECK_FALSE(fs::exists(shop.path("out/summary.json")));
  const auto of_part = nlohmann::json::parse(read_file(shop.path("out/summary_part_2_of_2.json")));
  CHECK(nlohmann::json::parse(part.output) == of_part);
  REQUIRE(of_part.at("cases").size() == 2);
  CHECK(of_part.at("cases")[0].at("case") == "b");
  CHECK(of_part.at("cases")[0].at("error").get<std::string>().find("in/b_0000.nii.gz") != std::string::npos);
  CHECK_FALSE(of_part.at("cases")[0].contains("labels_file"));
  CHECK(of_part.at("cases")[1].at("labels_file") == "out/d.nii.gz");
  const auto labels = read_labels_of(shop.path("out/d.nii.gz"));
  for (const int label : {1, 2}) {
    const auto voxels = std::count(labels.begin(), labels.end(), label);
    CHECK(of_part.at("cases")[1].at("labels").at(std::to_string(label)).at("voxels") == voxels);
  }

  const std::string d = read_file(shop.path("out/d.nii.gz"));
  const auto written = fs::last_write_time(shop.path("out/d.nii.gz"));
  const Result rest = segment({"--continue"});
  CHECK(rest.code == 1);
  CHECK(fs::last_write_time(shop.path("out/d.nii.gz")) == written);
  const auto summary = nlohmann::json::parse(read_file(shop.path("out/summary.json")));
  CHECK(summary.at("cases_failed") == 1);
  std::vector<std::string> names;
  for (const auto& one : summary.at("cases")) names.push_back(one.at("case"));
  CHECK(names == std::vector<std::string>{"a", "b", "c", "d"});
  const auto first = summary.at("cases")[0];

  // The bad image is replaced by a good one: only its case is done, and the summary keeps what it said of the others.
  Workshop::make_image(shop.path("in/b_0000.nii.gz"), 5);
  CHECK(segment({"--continue"}).code == 0);
  const auto complete = nlohmann::json::parse(read_file(shop.path("out/summary.json")));
  CHECK(complete.at("cases_failed") == 0);
  CHECK(complete.at("cases")[0] == first);
  CHECK(complete.at("cases")[1].at("labels").contains("1"));
  CHECK(read_file(shop.path("out/b.nii.gz")) == d);  // the same image
}
