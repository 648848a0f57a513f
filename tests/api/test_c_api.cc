// The C functions of e2enet_c.h: the same results as the C++ classes, and errors as values.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "e2enet/e2enet_c.h"
#include "fixtures.h"

namespace {

struct CModel {
  e2enet_model* model = nullptr;
  explicit CModel() {
    const e2enet::test::TemporaryFolder folder;
    const std::string path = folder.file("model");
    e2enet::model::write_random_model(R"({"classes": 3, "base_features": 6, "density": 0.4, "input_channels": 2,
        "pool_strides": [[1, 2, 2], [2, 2, 2]], "patch_size": [8, 16, 12]})",
                                      "test", 11, path);
    REQUIRE(e2enet_model_load(path.c_str(), &model) == E2ENET_OK);
  }
  ~CModel() { e2enet_model_free(model); }
};

e2enet_image c_image(const e2enet::test::TestImage& image) {
  e2enet_image result{};
  const e2enet::Geometry& geometry = image.view.geometry;
  std::copy(geometry.shape.begin(), geometry.shape.end(), result.shape);
  std::copy(geometry.spacing.begin(), geometry.spacing.end(), result.spacing);
  std::copy(geometry.affine.begin(), geometry.affine.end(), result.affine);
  result.channels = int(image.view.channels.size());
  result.voxels = image.view.channels.data();
  return result;
}

}  // namespace

TEST_CASE("C: a model, a segmenter and an image give what the C++ classes give") {
  const e2enet::test::TestImage image({10, 22, 18});
  e2enet::Options options;
  options.threads = 2;
  options.probabilities = true;
  const e2enet::Segmentation expected = e2enet::Segmenter(e2enet::test::small_model(), options).segment(image.view);

  const CModel model;
  CHECK(e2enet_model_input_channels(model.model) == 2);
  CHECK(e2enet_model_classes(model.model) == 3);
  int patch[3];
  e2enet_model_patch_size(model.model, patch);
  CHECK(patch[0] == 8);
  CHECK(patch[1] == 16);
  CHECK(patch[2] == 12);
  CHECK(std::string(e2enet_model_label_name(model.model, 0)) == "background");
  CHECK(e2enet_model_label_name(model.model, 3) == nullptr);

  e2enet_options c_options;
  e2enet_options_default(&c_options);
  CHECK(c_options.step == 0.5);
  c_options.threads = 2;
  c_options.probabilities = 1;
  e2enet_segmenter* segmenter = nullptr;
  REQUIRE(e2enet_segmenter_create(model.model, &c_options, &segmenter) == E2ENET_OK);
  const e2enet_image view = c_image(image);
  std::vector<std::uint16_t> labels(image.voxels());
  std::vector<float> probabilities(3 * image.voxels());
  std::int64_t calls = 0;
  const e2enet_progress count = [](void* context, int, std::int64_t, std::int64_t, double) {
    ++*static_cast<std::int64_t*>(context);
    return 1;
  };
  REQUIRE(e2enet_segment(segmenter, &view, labels.data(), probabilities.data(), count, &calls) == E2ENET_OK);
  CHECK(labels == expected.labels);
  CHECK(std::memcmp(probabilities.data(), expected.probabilities.data(), probabilities.size() * sizeof(float)) == 0);
  CHECK(calls > 3);

  // Cancelled: nothing of the caller's is touched.
  std::vector<std::uint16_t> untouched(image.voxels(), 7);
  const e2enet_progress stop = [](void*, int, std::int64_t, std::int64_t, double) { return 0; };
  CHECK(e2enet_segment(segmenter, &view, untouched.data(), nullptr, stop, nullptr) == E2ENET_CANCELLED);
  CHECK(untouched == std::vector<std::uint16_t>(image.voxels(), 7));
  e2enet_segmenter_free(segmenter);
}

TEST_CASE("C: errors are values with a message, a message a thread") {
  const CModel model;
  const e2enet::test::TestImage image({8, 16, 12});
  e2enet_image view = c_image(image);
  std::vector<std::uint16_t> labels(image.voxels());

  auto* nothing = reinterpret_cast<e2enet_model*>(&view);
  CHECK(e2enet_model_load("no such file", &nothing) == E2ENET_CANNOT_READ);
  CHECK(nothing == nullptr);
  CHECK(std::string(e2enet_last_error()).find("no such file") == 0);
  CHECK(e2enet_model_load(nullptr, &nothing) == E2ENET_INVALID_ARGUMENT);
  CHECK(e2enet_model_load("no such file", nullptr) == E2ENET_INVALID_ARGUMENT);
  CHECK(e2enet_model_load(E2ENET_SOURCE_DIR "/README.md", &nothing) == E2ENET_INVALID_MODEL);

  e2enet_segmenter* segmenter = nullptr;
  CHECK(e2enet_segmenter_create(nullptr, nullptr, &segmenter) == E2ENET_INVALID_ARGUMENT);
  CHECK(e2enet_segmenter_create(model.model, nullptr, nullptr) == E2ENET_INVALID_ARGUMENT);
  e2enet_options options;
  e2enet_options_default(&options);
  options.step = 2;
  CHECK(e2enet_segmenter_create(model.model, &options, &segmenter) == E2ENET_INVALID_ARGUMENT);
  CHECK(segmenter == nullptr);
  CHECK(std::string(e2enet_last_error()).find("step") == 0);

  REQUIRE(e2enet_segmenter_create(model.model, nullptr, &segmenter) == E2ENET_OK);
  CHECK(e2enet_segment(nullptr, &view, labels.data(), nullptr, nullptr, nullptr) == E2ENET_INVALID_ARGUMENT);
  CHECK(e2enet_segment(segmenter, nullptr, labels.data(), nullptr, nullptr, nullptr) == E2ENET_INVALID_ARGUMENT);
  CHECK(e2enet_segment(segmenter, &view, nullptr, nullptr, nullptr, nullptr) == E2ENET_INVALID_ARGUMENT);
  std::vector<float> probabilities(3 * image.voxels());
  CHECK(e2enet_segment(segmenter, &view, labels.data(), probabilities.data(), nullptr, nullptr) ==
        E2ENET_INVALID_ARGUMENT);
  view.channels = 1;
  CHECK(e2enet_segment(segmenter, &view, labels.data(), nullptr, nullptr, nullptr) == E2ENET_INVALID_IMAGE);
  view.channels = -1;
  CHECK(e2enet_segment(segmenter, &view, labels.data(), nullptr, nullptr, nullptr) == E2ENET_INVALID_ARGUMENT);
  view.channels = 2;
  view.voxels = nullptr;
  CHECK(e2enet_segment(segmenter, &view, labels.data(), nullptr, nullptr, nullptr) == E2ENET_INVALID_ARGUMENT);
  const std::string message = e2enet_last_error();
  CHECK(message.find("voxels") != std::string::npos);
  std::thread([] { CHECK(std::string(e2enet_last_error()).empty()); }).join();
  CHECK(e2enet_last_error() == message);

  e2enet_segmenter_free(segmenter);
  e2enet_segmenter_free(nullptr);
  e2enet_model_free(nullptr);
}

TEST_CASE("C: three ways with the largest component, and no other; a step that no tile can make") {
  const CModel model;
  const e2enet::test::TestImage image({10, 22, 18});
  const e2enet_image view = c_image(image);
  e2enet_options options;
  e2enet_options_default(&options);
  CHECK(options.largest_component == E2ENET_LARGEST_COMPONENT_MODEL);
  options.threads = 2;
  const auto labels = [&](int largest_component) {
    options.largest_component = largest_component;
    e2enet_segmenter* segmenter = nullptr;
    REQUIRE(e2enet_segmenter_create(model.model, &options, &segmenter) == E2ENET_OK);
    std::vector<std::uint16_t> values(image.voxels());
    CHECK(e2enet_segment(segmenter, &view, values.data(), nullptr, nullptr, nullptr) == E2ENET_OK);
    e2enet_segmenter_free(segmenter);
    return values;
  };
  const auto all = labels(E2ENET_LARGEST_COMPONENT_ALL);
  const auto none = labels(E2ENET_LARGEST_COMPONENT_NONE);
  CHECK(all != none);
  CHECK(labels(E2ENET_LARGEST_COMPONENT_MODEL) == none);  // this model names no label
  for (const int wrong : {-1, 3, 2147483647}) {
    CAPTURE(wrong);
    options.largest_component = wrong;
    e2enet_segmenter* segmenter = nullptr;
    CHECK(e2enet_segmenter_create(model.model, &options, &segmenter) == E2ENET_INVALID_ARGUMENT);
    CHECK(segmenter == nullptr);
    CHECK(std::string(e2enet_last_error()).find("largest_component") != std::string::npos);
  }
  options.largest_component = E2ENET_LARGEST_COMPONENT_MODEL;
  for (const double step : {1e-12, 0.0, -1.0, 1.5, std::nan("")}) {
    CAPTURE(step);
    options.step = step;
    e2enet_segmenter* segmenter = nullptr;
    CHECK(e2enet_segmenter_create(model.model, &options, &segmenter) == E2ENET_INVALID_ARGUMENT);
    CHECK(std::string(e2enet_last_error()).find("step") != std::string::npos);
  }
}

TEST_CASE("C: a zeroed affine is refused; remarks and implausible spacings") {
  const e2enet::test::TestImage image({10, 22, 18});
  const CModel model;
  e2enet_options options;
  e2enet_options_default(&options);
  CHECK(options.allow_implausible_spacing == 0);
  e2enet_segmenter* segmenter = nullptr;
  REQUIRE(e2enet_segmenter_create(model.model, &options, &segmenter) == E2ENET_OK);
  std::vector<std::uint16_t> labels(image.voxels());
  e2enet_image input = c_image(image);
  const auto segment = [&](e2enet_segmenter* with) {
    return e2enet_segment(with, &input, labels.data(), nullptr, nullptr, nullptr);
  };
  CHECK(segment(segmenter) == E2ENET_OK);
  CHECK(std::string(e2enet_segmenter_remarks(segmenter)).empty());
  std::fill_n(input.affine, 16, 0.0);
  CHECK(segment(segmenter) == E2ENET_INVALID_ARGUMENT);
  CHECK(std::string(e2enet_last_error()).find("affine") != std::string::npos);
  input = c_image(image);
  input.affine[10] = 3;
  CHECK(segment(segmenter) == E2ENET_OK);
  CHECK(std::string(e2enet_segmenter_remarks(segmenter)).find("3 mm3") != std::string::npos);
  input = c_image(image);
  input.spacing[1] = 0.001;
  CHECK(segment(segmenter) == E2ENET_INVALID_IMAGE);
  CHECK(std::string(e2enet_last_error()).find("0.001 mm along j") != std::string::npos);
  e2enet_segmenter_free(segmenter);
  options.allow_implausible_spacing = 1;
  REQUIRE(e2enet_segmenter_create(model.model, &options, &segmenter) == E2ENET_OK);
  CHECK(segment(segmenter) == E2ENET_OK);
  e2enet_segmenter_free(segmenter);
}
