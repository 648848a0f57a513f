// A NIfTI file to labels, against the original's own preprocess, predict and export.
#include <doctest/doctest.h>

#include "image/array_source.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "image/formats/nifti/nifti_reader.h"
#include "model/model_file.h"
#include "model/random_model.h"
#include "support/npy.h"
#include "support/paths.h"
#include "support/sanitizers.h"
#include "tiles/volume_extent.h"
#include "tiles/volume_pipeline.h"
#include "tiles/volumes.h"

namespace {

using namespace e2enet;

using test::KeepLabels;
using test::KeepProbabilities;
using test::synthetic_image;

struct Case {
  std::string model;
  std::vector<std::string> channels;
  std::vector<std::uint16_t> labels;
  std::vector<int> mirror_axes;
  Shape network_shape;
  std::size_t most_different;  // where rounding decides between two classes
};

void check_case(const Case& golden) {
  std::vector<std::unique_ptr<imaging::ImageReader>> readers;
  std::vector<imaging::SliceSource*> channels;
  for (const std::string& path : golden.channels) {
    readers.push_back(std::make_unique<imaging::ImageReader>(path));
    channels.push_back(readers.back().get());
  }
  const imaging::ImageReader& reader = *readers.at(0);
  const auto network = model::load_model_file(golden.model);
  std::vector<std::uint16_t> first_labels;
  std::vector<float> first_probabilities;
  for (const int threads : {1, 2, 3}) {
    plan::PlanOptions plan;
    plan.threads = threads;
    engine::Engine engine(*network, plan);
    tiles::PipelineOptions options;
    options.threads = threads;
    options.tiling.mirror_axes = golden.mirror_axes;
    options.probabilities = true;
    KeepLabels keep(reader.shape());
    const auto result = tiles::segment_volume(engine, reader.geometry(), channels, options, keep, {});
    CHECK(result.network_shape == golden.network_shape);
    REQUIRE(keep.labels.size() == golden.labels.size());

    const std::size_t voxels = keep.labels.size();
    std::size_t different = 0;
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < voxels; ++i) {
      if (keep.labels[i] == golden.labels[i]) continue;
      ++different;
      // Our own margin between the two answers tells whether rounding can have decided.
      const float margin =
          result.probabilities[keep.labels[i] * voxels + i] - result.probabilities[golden.labels[i] * voxels + i];
      if (margin > 1e-4f) ++wrong;
    }
    MESSAGE(threads << " threads: " << different << " of " << voxels << " labels differ, " << wrong
                    << " beyond rounding");
    CHECK(wrong == 0);
    CHECK(different <= golden.most_different);

    if (threads == 1) {
      first_labels = keep.labels;
      first_probabilities = result.probabilities;
    }
    CHECK(keep.labels == first_labels);
    CHECK(std::memcmp(result.probabilities.data(), first_probabilities.data(),
                      first_probabilities.size() * sizeof(float)) == 0);
  }
}

}  // namespace

TEST_CASE(
    "a NIfTI file's labels equal the reference's: mirrored, thick slices of two channels, axes in another order") {
  const std::string folder = test::source_path("tests/data/golden/e2e/");
  std::ifstream file(folder + "meta.json");
  const auto meta = nlohmann::json::parse(file);
  CHECK(meta.size() == 3);
  for (const auto& item : meta.items()) {
    const std::string name = item.key();
    CAPTURE(name);
    Case golden;
    golden.model = folder + name + ".safetensors";
    for (int c = 0; c < item.value().at("channels"); ++c) {
      golden.channels.push_back(folder + name + "_000" + std::to_string(c) + ".nii.gz");
    }
    golden.labels = test::read_npy<std::uint16_t>(folder + name + "_label.npy.gz").values;
    golden.mirror_axes = item.value().at("mirror_axes").get<std::vector<int>>();
    golden.network_shape = item.value().at("network_shape").get<Shape>();
    golden.most_different = 0;
    check_case(golden);
  }
}

TEST_CASE("a NIfTI file's labels equal the original pipeline's" * doctest::test_suite("shared")) {
  E2ENET_NEEDS_SHARED("golden/e2e");
  const std::string folder = test::shared_path("golden/e2e/");
  Case golden;
  golden.model = test::source_path("tests/data/networks/net_A.safetensors");
  golden.channels = {folder + "case_0000.nii.gz"};
  golden.labels = imaging::read_labels(folder + "case_label.nii.gz").labels;
  golden.mirror_axes = {0, 1, 2};
  golden.network_shape = {24, 80, 100};
  golden.most_different = 19;
  check_case(golden);
}

TEST_CASE("labels that leave slice by slice are those of the whole volume at once, along any axes") {
  const std::string path =
      (std::filesystem::temp_directory_path() / "e2enet_test_volume_pipeline.safetensors").string();
  const std::string architecture =
      R"({"input_channels":1,"classes":4,"base_features":4,"pool_strides":[[1,2,2],[2,2,2]],"patch_size":[8,16,12],)"
      R"("density":0.5,"preprocessing":{"spacing":[2.5,1.2,1.4],"normalization":[{"scheme":"nonCT"}])";
  Geometry geometry;
  geometry.shape = {19, 31, 27};
  geometry.spacing = {2.0, 1.0, 1.5};
  geometry.affine = {-1.5, 0, 0, 3, 0, 1.0, 0, -4, 0, 0, 2.0, 5, 0, 0, 0, 1};
  const std::vector<float> image = synthetic_image(geometry.shape);

  for (const char* extra : {"}}", R"(,"transpose_forward":[2,0,1]}})", R"(,"orientation":"RAS"}})",
                            R"(,"orientation":"RAI"}})", R"(,"orientation":"SAR","transpose_forward":[1,2,0]}})"}) {
    CAPTURE(std::string(extra));
    model::write_random_model(architecture + extra, "test", 5, path);
    const auto network = model::load_model_file(path);
    engine::Engine engine(*network, {});
    imaging::ArraySource source(image.data(), geometry.shape);

    // Whole: preprocess, all probabilities, export at once.
    const auto preprocessing = network->configuration().preprocessing;
    imaging::Survey survey =
        imaging::survey_image({&source}, imaging::PreprocessPlan::survey_options(geometry, preprocessing));
    const imaging::PreprocessPlan plan(geometry, survey, preprocessing);
    const imaging::Preprocessed input = imaging::preprocess(plan, {&source}, survey, {1, 1, 1}, 1);
    tiles::SlidingWindow window(engine, {}, tiles::volume_extent(plan.shape()));
    KeepProbabilities all(4, plan.shape());
    window.run(input.channel(0), all);
    const imaging::LabelExport exporter(plan, tiles::label_rule(network->configuration()), 4);
    std::vector<std::uint16_t> expected(image.size(), 0);
    imaging::export_labels(exporter, all.values.data(), plan.shape(), expected.data(), geometry.shape, 1);
    CHECK(*std::max_element(expected.begin(), expected.end()) > 0);

    for (const int threads : {1, 2, 4}) {
      if (test::runs_slowly() && threads != 2) continue;
      CAPTURE(threads);
      plan::PlanOptions plan_options;
      plan_options.threads = threads;
      engine::Engine threaded(*network, plan_options);
      tiles::PipelineOptions options;
      options.threads = threads;
      KeepLabels keep(geometry.shape);
      tiles::segment_volume(threaded, geometry, {&source}, options, keep, {});
      CHECK(keep.labels == expected);
    }
  }
  std::filesystem::remove(path);
}
