// Inputs, models and outputs that are one file, by whatever name: refused before any work, and nothing is touched.
#include "cli/command_files.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include "e2enet/error.h"
#include "program_fixture.h"

namespace {

namespace fs = std::filesystem;
using e2enet::cli::CommandFiles;
using e2enet::cli::UsageError;
using e2enet::test::read_file;
using e2enet::test::Result;
using e2enet::test::Workshop;
using e2enet::test::write_file;

using Call = std::vector<std::string>;

// What every file of the shop holds.
std::map<std::string, std::string> contents(const Workshop& shop) {
  std::map<std::string, std::string> result;
  for (const std::string& name : shop.files()) result[name] = read_file(shop.path(name));
  return result;
}

// One line, exit code 2, with both names; every file as before.
void check_refused(const Workshop& shop, const Call& call, const std::string& one, const std::string& other) {
  const auto before = contents(shop);
  const Result result = shop.run(call);
  std::string line;
  for (const std::string& word : call) line += word + " ";
  CAPTURE(line);
  CAPTURE(result.errors);
  CHECK(result.code == 2);
  CHECK(result.output.empty());
  CHECK(std::count(result.errors.begin(), result.errors.end(), '\n') == 1);
  CHECK(result.errors.find(one) != std::string::npos);
  CHECK(result.errors.find(other) != std::string::npos);
  CHECK(contents(shop) == before);
}

TEST_CASE("files are one where their folder's real name, links or numbers say so") {
  const Workshop shop;
  fs::create_directory(shop.path("real"));
  fs::create_directory_symlink("real", shop.path("also"));
  write_file(shop.path("real/in.nii"), "x");
  fs::create_hard_link(shop.path("real/in.nii"), shop.path("hard.nii"));
  fs::create_symlink("real/in.nii", shop.path("soft.nii"));
  fs::create_symlink("real/new.nii", shop.path("ahead.nii"));
  const auto refused = [&](const std::string& read, const std::string& first, const std::string& second) {
    CommandFiles files;
    files.reads("input", shop.path(read));
    try {
      files.writes("first", shop.path(first));
      if (!second.empty()) files.writes("second", shop.path(second));
    } catch (const UsageError&) {
      return true;
    }
    return false;
  };
  for (const char* same : {"real/in.nii", "also/in.nii", "real/../also/./in.nii", "hard.nii", "soft.nii"}) {
    CAPTURE(std::string(same));
    CHECK(refused("real/in.nii", same, ""));
    CHECK(refused(same, "real/in.nii", ""));
  }
  for (const char* same : {"real/new.nii", "also/new.nii", "ahead.nii"}) {
    CAPTURE(std::string(same));
    CHECK(refused("real/in.nii", "real/new.nii", same));
    CHECK(refused("real/in.nii", same, "ahead.nii"));
    CHECK(refused(same, "real/new.nii", ""));
  }
  CHECK_FALSE(refused("real/in.nii", "in.nii", "real/new.nii"));
  CHECK_FALSE(refused("real/in.nii", "nowhere/in.nii", "nowhere/new.nii"));
  CHECK(refused("real/in.nii", "nowhere/in.nii", "nowhere/x/../in.nii"));
}

TEST_CASE("the halves of a pair are one image, in any case of letters, zipped or not") {
  const Workshop shop;
  for (const char* name : {"a.hdr", "a.img", "B.HDR", "B.IMG", "c.hdr.gz", "c.img", "d.nii"}) {
    write_file(shop.path(name), "x");
  }
  const auto refused = [&](const std::string& read, const std::string& written) {
    CommandFiles files;
    files.reads("input", shop.path(read));
    try {
      files.writes("output", shop.path(written));
    } catch (const UsageError&) {
      return true;
    }
    return false;
  };
  CHECK(refused("a.img", "a.hdr"));
  CHECK(refused("a.hdr", "a.img"));
  CHECK(refused("B.IMG", "B.HDR"));
  CHECK(refused("B.HDR", "B.IMG"));
  CHECK(refused("c.img", "c.hdr.gz"));
  CHECK(refused("c.hdr.gz", "c.img"));
  CHECK_FALSE(refused("a.hdr", "e.hdr"));
  CHECK_FALSE(refused("a.hdr", "a.nii"));
  CHECK_FALSE(refused("d.nii", "d.hdr"));
  CommandFiles files;
  files.writes("labels", shop.path("l.hdr"));
  CHECK_THROWS_AS(files.writes("probabilities", shop.path("l.img")), UsageError);
}

TEST_CASE("outputs that cannot be written are known before the work") {
  const Workshop shop;
  fs::create_directory(shop.path("folder"));
  REQUIRE(mkfifo(shop.path("pipe").c_str(), 0600) == 0);
  for (const std::string& path :
       {shop.path("folder"), shop.path("pipe"), shop.path("nowhere/a"), std::string("/dev/null")}) {
    CAPTURE(path);
    CommandFiles files;
    files.writes("output", path);
    CHECK_THROWS_AS(files.require_writable(), e2enet::Error);
  }
  CommandFiles files;
  files.writes("output", shop.path("folder/a"));
  files.writes("none", "");
  CHECK_NOTHROW(files.require_writable());
}

TEST_CASE("segment: neither image nor model, nor one output by another") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("a.hdr"));
  Workshop::make_image(shop.path("i.nii.gz"));
  fs::create_symlink("model.safetensors", shop.path("m.nii"));
  fs::create_symlink("view.png", shop.path("labels.nii"));
  fs::create_hard_link(shop.path("i.nii.gz"), shop.path("hard.nii.gz"));
  fs::create_symlink("a.img", shop.path("s.json"));
  const auto call = [](const std::string& image, const Call& outputs) {
    Call whole = {"segment", "-m", "model.safetensors", "-i", image, "-o"};
    whole.insert(whole.end(), outputs.begin(), outputs.end());
    return whole;
  };
  check_refused(shop, call("a.img", {"a.hdr"}), "--output", "--image");
  check_refused(shop, call("a.hdr", {"a.img"}), "a.img", "a.hdr");
  check_refused(shop, call("a.hdr", {"o.nii", "--probabilities", "a.img"}), "--probabilities", "--image");
  check_refused(shop, call("a.hdr", {"o.nii", "--statistics", "s.json"}), "--statistics", "a.img");
  check_refused(shop, call("i.nii.gz", {"hard.nii.gz"}), "hard.nii.gz", "i.nii.gz");
  check_refused(shop, call("i.nii.gz", {"l.hdr", "--probabilities", "l.img"}), "--probabilities", "--output");
  check_refused(shop, call("i.nii.gz", {"m.nii"}), "m.nii", "--model");
  check_refused(shop, call("i.nii.gz", {"labels.nii", "--preview", "view.png"}), "--preview", "--output");
  // The other way round it goes, also through a link that leads to nothing yet.
  fs::create_symlink("elsewhere.nii", shop.path("later.nii"));
  CHECK(shop.run(call("i.nii.gz", {"later.nii"})).code == 0);
  CHECK(fs::is_symlink(shop.path("later.nii")));
  CHECK(fs::is_regular_file(shop.path("elsewhere.nii")));
}

TEST_CASE("segment: of a folder, no case's outputs are another case's inputs or outputs, nor the summary anything") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  fs::create_directories(shop.path("in"));
  fs::create_directories(shop.path("out"));
  for (const std::string name : {"a", "b"}) Workshop::make_image(shop.path("in/" + name + ".nii.gz"));
  const Call call = {"segment", "-m", "model.safetensors", "-i", "in", "-o", "out"};
  const auto with = [&](const Call& more) {
    Call whole = call;
    whole.insert(whole.end(), more.begin(), more.end());
    return whole;
  };
  fs::create_symlink("../in/b.nii.gz", shop.path("out/a.nii.gz"));
  check_refused(shop, call, "case a: --output", "case b: --image");
  check_refused(shop, with({"--part", "2/2"}), "case a: --output", "case b: --image");  // another computer's case
  fs::remove(shop.path("out/a.nii.gz"));
  fs::create_hard_link(shop.path("in/a.nii.gz"), shop.path("out/b.nii.gz"));
  check_refused(shop, call, "out/b.nii.gz", "in/a.nii.gz");
  fs::remove(shop.path("out/b.nii.gz"));
  fs::create_symlink("../model.safetensors", shop.path("out/summary.json"));
  check_refused(shop, call, "summary", "--model");
  fs::remove(shop.path("out/summary.json"));
  fs::create_symlink("../in/a.nii.gz", shop.path("out/summary.json"));
  check_refused(shop, call, "summary", "in/a.nii.gz");
  fs::remove(shop.path("out/summary.json"));
  fs::create_symlink("b.nii.gz", shop.path("out/a.nii.gz"));  // two outputs by a link
  check_refused(shop, call, "case a: --output", "case b: --output");
  fs::remove(shop.path("out/a.nii.gz"));

  Workshop::make_image(shop.path("in/a_probabilities.nii.gz"));
  check_refused(shop, with({"--probabilities", "out"}), "case a: --probabilities", "case a_probabilities: --output");
  check_refused(shop, with({"--probabilities", "in"}), "--probabilities", "--image");
  check_refused(shop, {"segment", "-m", "model.safetensors", "-i", "in", "-o", "./in/../in"}, "--output", "--image");
  fs::create_directory_symlink("in", shop.path("same"));
  check_refused(shop, {"segment", "-m", "model.safetensors", "-i", "in", "-o", "same"}, "--output", "--image");
  const Result apart = shop.run(with({"--probabilities", "p"}));
  CHECK(apart.code == 0);
  CHECK(fs::exists(shop.path("p/a_probabilities.nii.gz")));
}

TEST_CASE("evaluate and tradeoff: tables and plots are neither inputs nor each other") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  fs::create_directory(shop.path("i"));
  fs::create_directory(shop.path("r"));
  Workshop::make_image(shop.path("i/a.nii"));
  REQUIRE(shop.run({"segment", "-m", "model.safetensors", "-i", "i/a.nii", "-o", "r/a.hdr"}).code == 0);
  fs::copy_file(shop.path("r/a.hdr"), shop.path("r/b.hdr"));  // of no case
  fs::copy_file(shop.path("r/a.img"), shop.path("r/b.img"));
  const auto evaluate = [](const std::string& csv) {
    return Call{"evaluate", "-p", "r/a.hdr", "-r", "r/b.hdr", "-m", "model.safetensors", "--csv", csv};
  };
  check_refused(shop, evaluate("r/a.hdr"), "--csv", "--prediction");
  check_refused(shop, evaluate("r/a.img"), "--csv", "--prediction");
  check_refused(shop, evaluate("r/b.img"), "--csv", "--reference");
  check_refused(shop, evaluate("model.safetensors"), "--csv", "--model");
  check_refused(shop, {"evaluate", "-p", "r", "-r", "r", "--csv", "r/b.img"}, "--csv", "r/b.img");
  const auto tradeoff = [](const Call& outputs) {
    Call whole = {"tradeoff", "-m", "model.safetensors", "-i", "i", "-r", "r"};
    whole.insert(whole.end(), outputs.begin(), outputs.end());
    return whole;
  };
  for (const std::string option : {"--csv", "--markdown", "--svg"}) {
    check_refused(shop, tradeoff({option, "model.safetensors"}), option, "--model");
    check_refused(shop, tradeoff({option, "i/a.nii"}), option, "--images");
    check_refused(shop, tradeoff({option, "r/a.img"}), option, "--references");
    check_refused(shop, tradeoff({option, "r/b.hdr"}), option, "--references");
    CHECK(shop.run(tradeoff({option, "nowhere/x"})).code == 1);
  }
  check_refused(shop, tradeoff({"--csv", "t", "--markdown", "t"}), "--markdown", "--csv");
  check_refused(shop, tradeoff({"--csv", "t", "--svg", "./t"}), "--svg", "--csv");
  check_refused(shop, tradeoff({"--svg", "i/../t", "--markdown", "t"}), "--svg", "--markdown");
}

TEST_CASE("forward, preprocess and random: neither model, input nor configuration") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("a.hdr"), 1, {8, 16, 16});
  REQUIRE(shop.run({"preprocess", "-m", "model.safetensors", "-i", "a.hdr", "-o", "x.npy"}).code == 0);
  write_file(shop.path("c.json"), "{}");
  fs::create_symlink("model.safetensors", shop.path("link"));
  check_refused(shop, {"preprocess", "-m", "model.safetensors", "-i", "a.hdr", "-o", "model.safetensors"}, "--output",
                "--model");
  check_refused(shop, {"preprocess", "-m", "model.safetensors", "-i", "a.hdr", "-o", "a.img"}, "--output", "--image");
  check_refused(shop, {"preprocess", "-m", "link", "-i", "a.hdr", "-o", "model.safetensors"}, "link",
                "model.safetensors");
  check_refused(shop, {"forward", "-m", "model.safetensors", "-i", "x.npy", "-o", "link"}, "--output", "--model");
  check_refused(shop, {"forward", "-m", "model.safetensors", "-i", "x.npy", "-o", "./x.npy"}, "--output", "--input");
  check_refused(shop, {"random", "-o", "c.json", "--config", "c.json"}, "--output", "--config");
}

}  // namespace
