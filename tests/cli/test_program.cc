// What every command has in common: help, exit codes, errors of one line.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>

#include "program_fixture.h"
#include "support/skip.h"

namespace {

using e2enet::test::Result;
using e2enet::test::Workshop;

const char* const kCommands[] = {"segment", "dicom",    "evaluate", "info",       "profile",
                                 "bench",   "tradeoff", "forward",  "preprocess", "random"};

// One line that says who speaks.
void check_error(const Result& result, int code, const std::string& speaker) {
  CAPTURE(result.errors);
  CHECK(result.code == code);
  CHECK(result.output.empty());
  CHECK(result.errors.rfind(speaker + ": error: ", 0) == 0);
  CHECK(std::count(result.errors.begin(), result.errors.end(), '\n') == 1);
}

TEST_CASE("help is on every level, with usage, options and examples") {
  const Workshop shop;
  const Result top = shop.run({"--help"});
  CHECK(top.code == 0);
  CHECK(top.errors.empty());
  for (const char* command : kCommands) {
    CAPTURE(command);
    CHECK(top.output.find(command) != std::string::npos);
    const Result help = shop.run({command, "--help"});
    CHECK(help.code == 0);
    CHECK(help.errors.empty());
    CHECK(help.output.find(std::string("Usage: e2enet ") + command) != std::string::npos);
    CHECK(help.output.find("Examples:") != std::string::npos);
    CHECK(help.output.find("--threads N") != std::string::npos);
    CHECK(help.output.find("--quiet") != std::string::npos);
    std::size_t longest = 0, begin = 0;
    for (std::size_t end; (end = help.output.find('\n', begin)) != std::string::npos; begin = end + 1) {
      longest = std::max(longest, end - begin);
    }
    CHECK(longest <= 120);
  }
}

TEST_CASE("the version is one line") {
  const Result result = Workshop().run({"--version"});
  CHECK(result.code == 0);
  CHECK(result.output.rfind("e2enet ", 0) == 0);
}

TEST_CASE("a call without a command shows the help and is wrong") {
  const Result result = Workshop().run({});
  CHECK(result.code == 2);
  CHECK(result.errors.find("Usage:") != std::string::npos);
}

TEST_CASE("an unknown command is named, with the one that was probably meant") {
  const Result result = Workshop().run({"segmnet"});
  check_error(result, 2, "e2enet");
  CHECK(result.errors.find("'segmnet'") != std::string::npos);
  CHECK(result.errors.find("'segment'") != std::string::npos);
}

TEST_CASE("an unknown option is named, with the one that was probably meant") {
  const Result result = Workshop().run({"evaluate", "-p", "a", "-r", "b", "--tolerence", "1"});
  check_error(result, 2, "e2enet evaluate");
  CHECK(result.errors.find("'--tolerence'") != std::string::npos);
  CHECK(result.errors.find("'--tolerance'") != std::string::npos);
}

TEST_CASE("every command refuses a call without what it needs") {
  const Workshop shop;
  for (const char* command : kCommands) {
    CAPTURE(command);
    check_error(shop.run({command}), 2, std::string("e2enet ") + command);
  }
}

TEST_CASE("values that make no sense are refused with what was expected and found") {
  const Workshop shop;
  const std::vector<std::string> segment = {"segment", "-m", "m", "-i", "a.nii", "-o", "b.nii"};
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"--step", "0"},          {"--step", "1.5"},        {"--step", "x"},      {"--precision", "f16"},
      {"--memory", "lots"},     {"--memory", "-1G"},      {"--roi", "1:2,3:4"}, {"--roi", "5:5,0:1,0:1"},
      {"--roi", "9:2,0:1,0:1"}, {"--roi", "a:b,0:1,0:1"}, {"--part", "0/3"},    {"--part", "4/3"},
      {"--part", "1"},          {"--threads", "-1"},      {"--threads", "many"}};
  for (const auto& call_with : bad) {
    const std::string &option = call_with.first, &value = call_with.second;
    CAPTURE(option);
    CAPTURE(value);
    std::vector<std::string> call = segment;
    call.push_back(option);
    call.push_back(value);
    const Result result = shop.run(call);
    check_error(result, 2, "e2enet segment");
    CHECK(result.errors.find(option) != std::string::npos);
    CHECK(result.errors.find("expected") != std::string::npos);
    CHECK(result.errors.find("found") != std::string::npos);
  }
  for (const char* runs : {"0", "100001", "3.5", "many"}) {
    CAPTURE(runs);
    const Result result = shop.run({"bench", "-m", "model.safetensors", "--runs", runs});
    check_error(result, 2, "e2enet bench");
    CHECK(result.errors.find(std::string("--runs: expected a number from 1 to 100000, found '") + runs + "'") !=
          std::string::npos);
  }
}

TEST_CASE("a model that is missing or no model is an error of one line, and nothing is written") {
  const Workshop shop;
  Workshop::make_image(shop.path("image.nii"));
  e2enet::test::write_file(shop.path("text.safetensors"), "this is no model");
  const auto before = shop.files();
  for (const std::string model : {"missing.safetensors", "text.safetensors", "image.nii"}) {
    CAPTURE(model);
    check_error(shop.run({"segment", "-m", model, "-i", "image.nii", "-o", "labels.nii"}), 1, "e2enet segment");
    check_error(shop.run({"info", model}), 1, "e2enet info");
    check_error(shop.run({"bench", "-m", model}), 1, "e2enet bench");
    check_error(shop.run({"preprocess", "-m", model, "-i", "image.nii", "-o", "x.npy"}), 1, "e2enet preprocess");
  }
  CHECK(shop.files() == before);
}

TEST_CASE("the memory that info plans is the memory that bench measures, to 5%") {
  if (!e2enet::test::kMemoryIsMeasured) E2ENET_SKIP("a sanitizer needs memory of its own");
  const Workshop shop;
  e2enet::test::write_file(shop.path("network.json"), R"({"input_channels": 1, "classes": 4, "base_features": 24,
      "density": 0.2, "patch_size": [64, 96, 96], "pool_strides": [[2, 2, 2], [2, 2, 2], [2, 2, 2]]})");
  REQUIRE(shop.run({"random", "-o", "model.safetensors", "--config", "network.json", "--seed", "1"}).code == 0);
  for (const std::string precision : {"f32", "bf16"}) {
    CAPTURE(precision);
    const Result info = shop.run({"info", "model.safetensors", "--json", "--precision", precision, "--threads", "2"});
    REQUIRE(info.code == 0);
    const Result bench = shop.run(
        {"bench", "-m", "model.safetensors", "--json", "--precision", precision, "--threads", "2", "--runs", "1"});
    REQUIRE(bench.code == 0);
    const double planned = nlohmann::json::parse(info.output).at("planned_peak_bytes").get<double>();
    const double measured = nlohmann::json::parse(bench.output).at("peak_bytes").get<double>();
    CAPTURE(planned);
    CHECK(measured == doctest::Approx(planned).epsilon(0.05));
  }
}

TEST_CASE("info, bench and profile print JSON with the keys that programs read") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  const Result info = shop.run({"info", "model.safetensors", "--json"});
  REQUIRE(info.code == 0);
  const auto about = nlohmann::json::parse(info.output);
  for (const char* key : {"parameters", "flops_paper", "flops_executed", "planned_peak_bytes"}) {
    CAPTURE(key);
    CHECK(about.at(key).get<double>() > 0);
  }
  CHECK(about.at("configuration").at("classes") == 3);
  double parameters = 0;
  for (const auto& layer : about.at("layers")) parameters += layer.at("parameters").get<double>();
  CHECK(parameters == about.at("parameters").get<double>());

  const Result bench = shop.run({"bench", "-m", "model.safetensors", "--runs", "3", "--json", "--patch", "8,32,16"});
  REQUIRE(bench.code == 0);
  CHECK(bench.errors.empty());
  const auto times = nlohmann::json::parse(bench.output);
  CHECK(times.at("seconds_min").get<double>() > 0);
  CHECK(times.at("seconds_median").get<double>() >= times.at("seconds_min").get<double>());
  CHECK(times.at("peak_bytes").get<double>() > times.at("planned_peak_bytes").get<double>() / 2);
  CHECK(times.at("seconds").size() == 3);
  for (const char* key : {"seconds_load", "seconds_plan", "seconds_first"}) CHECK(times.at(key).get<double>() > 0);
  CHECK(times.at("patch") == nlohmann::json({8, 32, 16}));

  const Result profile = shop.run({"profile", "-m", "model.safetensors", "--json"});
  REQUIRE(profile.code == 0);
  const auto layers = nlohmann::json::parse(profile.output);
  double executed = 0;
  for (const auto& layer : layers.at("layers")) executed += layer.at("flops_executed").get<double>();
  CHECK(executed == doctest::Approx(layers.at("flops_executed").get<double>()).epsilon(1e-9));
  CHECK(layers.at("flops_executed") == about.at("flops_executed"));
}

TEST_CASE("a patch that the network cannot run is refused") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  check_error(shop.run({"bench", "-m", "model.safetensors", "--patch", "7,16,16"}), 1, "e2enet bench");
  check_error(shop.run({"bench", "-m", "model.safetensors", "--patch", "8,16"}), 2, "e2enet bench");
  check_error(shop.run({"bench", "-m", "model.safetensors", "--patch", "0,16,16"}), 2, "e2enet bench");
}

TEST_CASE("random writes the same bytes for the same seed, and others for another") {
  const Workshop shop;
  e2enet::test::write_file(shop.path("c.json"),
                           R"({"input_channels": 1, "classes": 2, "base_features": 2, "patch_size": [4, 4, 4],
                               "pool_strides": [[2, 2, 2]]})");
  for (const auto& [name, seed] : {std::pair{"a", "1"}, {"b", "1"}, {"c", "2"}}) {
    REQUIRE(shop.run({"random", "-o", name, "--config", "c.json", "--seed", seed}).code == 0);
  }
  CHECK(e2enet::test::read_file(shop.path("a")) == e2enet::test::read_file(shop.path("b")));
  CHECK(e2enet::test::read_file(shop.path("a")) != e2enet::test::read_file(shop.path("c")));
  check_error(shop.run({"random", "-o", "c.json", "--config", "c.json"}), 2, "e2enet random");
}

TEST_CASE("standard output that cannot be written is a failure") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  const std::string call = std::string(E2ENET_PROGRAM) + " info " + shop.path("model.safetensors") +
                           " > /dev/full 2> " + shop.path("errors");
  if (!std::filesystem::exists("/dev/full")) return;
  const int status = std::system(call.c_str());
  CHECK(WEXITSTATUS(status) == 1);
  CHECK(e2enet::test::read_file(shop.path("errors")).find("error:") != std::string::npos);
}

#ifndef E2ENET_HAS_DICOM
TEST_CASE("a build without DICOM says so of a series, of a file of one, and of a segmentation") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  std::filesystem::create_directories(shop.path("scan/deeper"));
  e2enet::test::write_file(shop.path("scan/deeper/one"), std::string(128, '\0') + "DICM" + std::string(60, '\0'));
  Workshop::make_image(shop.path("image.nii"));
  const std::string expected = "expected a build with DICOM (E2ENET_WITH_DICOM, docs/dicom.md), found one without";
  for (const auto& [image, output] : {std::pair<std::string, std::string>{"scan", "labels.nii.gz"},
                                      {"scan/deeper/one", "labels.nii.gz"},
                                      {"image.nii", "labels.dcm"}}) {
    const Result result = shop.run({"segment", "-m", "model.safetensors", "-i", image, "-o", output});
    CHECK(result.code == 1);
    CHECK_MESSAGE(result.errors.find(expected) != std::string::npos, result.errors);
  }
  const Result listed = shop.run({"dicom", "scan"});
  CHECK(listed.code == 1);
  CHECK_MESSAGE(listed.errors.find("DICOM: expected a build with it") != std::string::npos, listed.errors);
  CHECK(shop.files() == std::set<std::string>{"image.nii", "model.safetensors", "scan/deeper/one"});
}
#endif

}  // namespace
