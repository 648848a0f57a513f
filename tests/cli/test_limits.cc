// --memory through the program as a process of its own: what it takes, what it refuses, and that no label changes.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include "program_fixture.h"
#include "support/paths.h"

namespace {

using e2enet::cli::parse_size;
using e2enet::test::kMemoryIsMeasured;
using e2enet::test::read_file;
using e2enet::test::Result;
using e2enet::test::Workshop;
using e2enet::test::write_file;

constexpr char kSmallNetwork[] = R"("base_features": 4, "patch_size": [16, 32, 32])";

// Two channels whose images are large beside the network, so that what is held of them decides.
class LargeImages : public Workshop {
 public:
  // `network` and `spacing` as in the model's configuration; without a spacing nothing is resampled.
  explicit LargeImages(const std::string& network = kSmallNetwork, const std::string& spacing = "") {
    const std::string resampling = spacing.empty() ? "" : R"("spacing": )" + spacing + ", ";
    write_file(path("config.json"),
               R"({"input_channels": 2, "classes": 3, "density": 0.5, "pool_strides": [[1, 2, 2], [2, 2, 2]], )" +
                   network + R"(, "preprocessing": {)" + resampling +
                   R"("normalization": [{"scheme": "nonCT", "use_mask": true}, {"scheme": "nonCT"}]}})");
    run({"random", "-o", "model.safetensors", "--config", "config.json", "--seed", "3"});
    std::filesystem::remove(path("config.json"));
  }
  void make_images(const e2enet::Shape& shape, const std::string& ending = ".nii.gz") {
    images_ = {"a" + ending, "b" + ending};
    make_image(path(images_[0]), 1, shape);
    make_image(path(images_[1]), 2, shape);
  }
  Result segment(const std::string& labels, const std::vector<std::string>& more) const {
    std::vector<std::string> call = {
        "segment", "-m", "model.safetensors", "-i", images_[0], images_[1], "-o", labels, "--step", "1", "--json"};
    call.insert(call.end(), more.begin(), more.end());
    return run(call);
  }

 private:
  std::vector<std::string> images_;
};

// The size that a refusal says would do.
std::string size_that_would_do(const std::string& refusal) {
  const std::string before = "expected at least ";
  const std::size_t begin = refusal.find(before);
  REQUIRE(begin != std::string::npos);
  const std::string rest = refusal.substr(begin + before.size());
  return rest.substr(0, rest.find(' '));
}

}  // namespace

TEST_CASE("the fastest plan within the limit is taken, its peak stays below, and the labels are the same bytes") {
  struct Setting {
    const char* spacing;
    e2enet::Shape shape;
    const char* ending;
  };
  std::set<std::string> plans_taken;
  // Resampled, the image is what is large; as it is, the volume that the network sees.
  for (const Setting& setting :
       {Setting{"[4, 2, 3]", {200, 144, 144}, ".nii"}, Setting{"", {200, 96, 80}, ".nii.gz"}}) {
    CAPTURE(std::string(setting.spacing));
    LargeImages shop(kSmallNetwork, setting.spacing);
    shop.make_images(setting.shape, setting.ending);
    const auto with = [](std::vector<std::string> more) {
      more.insert(more.end(), {"--statistics", "volumes.json"});
      return more;
    };
    const Result dry = shop.segment("labels.nii.gz", with({"--dry-run", "--threads", "2"}));
    REQUIRE(dry.code == 0);
    const auto forecast = nlohmann::json::parse(dry.output);
    const auto plans = forecast.at("plans");
    REQUIRE(plans.size() == 4);
    CHECK(forecast.at("plan") == plans[0].at("plan"));
    CHECK(forecast.at("peak_bytes") == plans[0].at("peak_bytes"));

    REQUIRE(shop.segment("expected.nii.gz", with({"--threads", "1"})).code == 0);
    const std::string expected = read_file(shop.path("expected.nii.gz"));
    const std::string statistics = nlohmann::json::parse(read_file(shop.path("volumes.json"))).at("labels").dump();
    for (const int threads : {1, 2, 4}) {
      std::int64_t faster = std::numeric_limits<std::int64_t>::max();  // the smallest peak of the faster plans
      for (const auto& plan : plans) {
        const std::int64_t peak = plan.at("peak_bytes").get<std::int64_t>();
        // More threads take a little more, and so may the next start of the program.
        const std::int64_t limit = peak + (std::int64_t{threads} << 20);
        if (limit >= faster) continue;  // nothing is gained by this one here
        faster = peak;
        CAPTURE(threads);
        CAPTURE(plan.dump());
        const Result result = shop.segment(
            "labels.nii.gz", with({"--memory", std::to_string(limit), "--threads", std::to_string(threads)}));
        CAPTURE(result.errors);
        REQUIRE(result.code == 0);
        const auto done = nlohmann::json::parse(result.output);
        CHECK(done.at("plan") == plan.at("plan"));
        plans_taken.insert(done.at("plan"));
        CHECK(done.at("precision") == "f32");
        CHECK(done.at("planned_peak_bytes").get<std::int64_t>() <= limit);
        if (kMemoryIsMeasured) CHECK(result.peak_bytes <= done.at("planned_peak_bytes").get<std::int64_t>());
        CHECK(read_file(shop.path("labels.nii.gz")) == expected);
        CHECK(nlohmann::json::parse(read_file(shop.path("volumes.json"))).at("labels").dump() == statistics);
      }
    }
  }
  CHECK(plans_taken.size() == 4);
}

TEST_CASE("a refusal names the smallest limit, and exactly that one does") {
  LargeImages shop;
  shop.make_images({64, 64, 64});
  const auto before = shop.files();
  const Result refused = shop.segment("labels.nii.gz", {"--memory", "1M"});
  CHECK(refused.code == 1);
  CHECK(refused.errors.find("--memory") != std::string::npos);
  CHECK(refused.errors.find("a.nii.gz") != std::string::npos);
  CHECK(shop.files() == before);
  const std::string smallest = size_that_would_do(refused.errors);
  const Result done = shop.segment("labels.nii.gz", {"--memory", smallest});
  CAPTURE(done.errors);
  CHECK(done.code == 0);
  if (kMemoryIsMeasured) CHECK(done.peak_bytes <= parse_size(smallest, "smallest"));
  std::filesystem::remove(shop.path("labels.nii.gz"));
  const std::string less = std::to_string(parse_size(smallest, "smallest") - (5 << 20));
  CHECK(shop.segment("labels.nii.gz", {"--memory", less}).code == 1);
  CHECK(shop.files() == before);
}

TEST_CASE("bf16 is taken only where the user allows it and f32 does not fit") {
  LargeImages shop(R"("base_features": 16, "patch_size": [32, 64, 64])");
  shop.make_images({32, 64, 64});
  const std::string f32 = size_that_would_do(shop.segment("l.nii", {"--memory", "1M"}).errors);
  const std::string bf16 = size_that_would_do(shop.segment("l.nii", {"--memory", "1M", "--precision", "bf16"}).errors);
  const std::string either =
      size_that_would_do(shop.segment("l.nii", {"--memory", "1M", "--precision", "auto"}).errors);
  CHECK(parse_size(either, "either") <= parse_size(bf16, "bf16") + (4 << 20));  // its model stays
  const std::int64_t saved = parse_size(f32, "f32") - parse_size(bf16, "bf16");
  REQUIRE(saved > 4 << 20);
  const std::string between = std::to_string(parse_size(bf16, "bf16") + saved / 2);
  CHECK(shop.segment("l.nii", {"--memory", between}).code == 1);
  REQUIRE(shop.segment("bf16.nii", {"--memory", between, "--precision", "bf16"}).code == 0);
  REQUIRE(shop.segment("f32.nii", {"--memory", "4G"}).code == 0);

  const Result tight = shop.segment("tight.nii", {"--memory", between, "--precision", "auto"});
  REQUIRE(tight.code == 0);
  CHECK(nlohmann::json::parse(tight.output).at("precision") == "bf16");
  CHECK(read_file(shop.path("tight.nii")) == read_file(shop.path("bf16.nii")));
  if (kMemoryIsMeasured) CHECK(tight.peak_bytes <= parse_size(between, "between"));
  const Result roomy = shop.segment("roomy.nii", {"--memory", "4G", "--precision", "auto"});
  REQUIRE(roomy.code == 0);
  CHECK(nlohmann::json::parse(roomy.output).at("precision") == "f32");
  CHECK(read_file(shop.path("roomy.nii")) == read_file(shop.path("f32.nii")));
}

TEST_CASE("a dry run says tiles, time, memory and plan, and writes nothing") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  std::filesystem::create_directory(shop.path("in"));
  Workshop::make_image(shop.path("in/a.nii"));
  const auto before = shop.files();
  const std::vector<std::string> call = {"segment", "-m",    "model.safetensors", "-i",       "in/a.nii",
                                         "-o",      "l.nii", "--preview",         "view.png", "--dry-run"};
  const Result text = shop.run(call);
  CHECK(text.code == 0);
  for (const std::string word : {"runs of the network", "a run, measured now", "MiB at most",
                                 "image in memory:", "image prepared a few slices at a time"}) {
    CAPTURE(word);
    CHECK(text.output.find(word) != std::string::npos);
  }
  CHECK(shop.files() == before);
  const Result folder =
      shop.run({"segment", "-m", "model.safetensors", "-i", "in", "-o", "out", "--preview", "pictures", "--dry-run"});
  CHECK(folder.code == 0);
  CHECK(folder.output.find("all cases: about") != std::string::npos);
  CHECK(shop.files() == before);
  CHECK_FALSE(std::filesystem::exists(shop.path("out")));
}

TEST_CASE("real images: labels and probabilities are the same bytes for every limit and number of threads" *
          doctest::test_suite("shared")) {
  const std::string images = "data/hippocampus/test/images/";
  const std::string model = e2enet::test::source_path("models/hippocampus_density20.safetensors");
  for (const std::string image : {"hippocampus_017.nii.gz", "hippocampus_064.nii.gz"}) {
    E2ENET_NEEDS_SHARED(images + image);
    CAPTURE(image);
    const Workshop shop;
    const auto segment = [&](const std::vector<std::string>& more) {
      std::vector<std::string> call = {"segment",
                                       "-m",
                                       model,
                                       "-i",
                                       e2enet::test::shared_path(images + image),
                                       "-o",
                                       "labels.nii.gz",
                                       "--probabilities",
                                       "classes.nii.gz",
                                       "--json"};
      call.insert(call.end(), more.begin(), more.end());
      return shop.run(call);
    };
    const std::string least = size_that_would_do(segment({"--memory", "1M", "--threads", "2"}).errors);
    std::set<std::string> labels, probabilities;
    for (const std::string threads : {"1", "2", "4"}) {
      for (const std::string& limit : {std::string(), least, std::string("1G")}) {
        // What would do for two threads need not do for more.
        if (limit == least && threads == "4") continue;
        std::vector<std::string> more = {"--threads", threads};
        if (!limit.empty()) more.insert(more.end(), {"--memory", limit});
        const Result result = segment(more);
        CAPTURE(result.errors);
        REQUIRE(result.code == 0);
        labels.insert(read_file(shop.path("labels.nii.gz")));
        probabilities.insert(read_file(shop.path("classes.nii.gz")));
      }
    }
    CHECK(labels.size() == 1);
    CHECK(probabilities.size() == 1);
  }
}
