// The C functions of e2enet_c.h: the same results as the C++ classes, and errors as values.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "e2enet/e2enet_c.h"
#include "fixtures.h"

namespace {

using e2enet::test::TemporaryFolder;
using e2enet::test::TestImage;
using nlohmann::json;

// An object of the C functions and the function that frees it.
template <typename Object, void (*free_object)(Object*)>
struct Owned {
  Object* object = nullptr;
  Owned() = default;
  Owned(Owned&& other) noexcept : object(std::exchange(other.object, nullptr)) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(object, other.object);
    return *this;
  }
  ~Owned() { free_object(object); }
  operator Object*() const { return object; }
  Object** place() { return &object; }
};
using Text = Owned<e2enet_text, e2enet_text_free>;
using CModel = Owned<e2enet_model, e2enet_model_free>;
using COptions = Owned<e2enet_options, e2enet_options_free>;
using CImage = Owned<e2enet_image, e2enet_image_free>;
using CRequest = Owned<e2enet_request, e2enet_request_free>;
using CSegmenter = Owned<e2enet_segmenter, e2enet_segmenter_free>;
using CSegmentation = Owned<e2enet_segmentation, e2enet_segmentation_free>;
using CForecast = Owned<e2enet_forecast, e2enet_forecast_free>;
using CRunner = Owned<e2enet_patch_runner, e2enet_patch_runner_free>;
using CScores = Owned<e2enet_scores, e2enet_scores_free>;

json parsed(const Text& text) { return json::parse(e2enet_text_string(text)); }

std::string model_file(const TemporaryFolder& folder) {
  const std::string path = folder.file("model");
  e2enet::model::write_random_model(R"({"classes": 3, "base_features": 6, "density": 0.4, "input_channels": 2,
      "pool_strides": [[1, 2, 2], [2, 2, 2]], "patch_size": [8, 16, 12]})",
                                    "test", 11, path);
  return path;
}

CModel c_model() {
  const TemporaryFolder folder;
  CModel model;
  REQUIRE(e2enet_model_load(model_file(folder).c_str(), model.place()) == E2ENET_OK);
  return model;
}

CImage c_image(const TestImage& image) {
  const e2enet::Geometry& geometry = image.view.geometry;
  const std::vector<const void*> channels(image.view.channels.begin(), image.view.channels.end());
  const std::vector<int> types(channels.size(), E2ENET_FLOAT32);
  CImage made;
  REQUIRE(e2enet_image_from_arrays(geometry.shape.data(), geometry.spacing.data(), geometry.affine.data(),
                                   channels.data(), types.data(), nullptr, int(channels.size()), nullptr,
                                   made.place()) == E2ENET_OK);
  return made;
}

CRequest c_request(std::vector<std::uint16_t>* labels = nullptr) {
  CRequest request;
  REQUIRE(e2enet_request_create(request.place()) == E2ENET_OK);
  if (labels) REQUIRE(e2enet_request_set_labels(request, labels->data(), labels->size()) == E2ENET_OK);
  return request;
}

COptions c_options(int threads = 2) {
  COptions options;
  REQUIRE(e2enet_options_create(options.place()) == E2ENET_OK);
  REQUIRE(e2enet_options_set_threads(options, threads) == E2ENET_OK);
  return options;
}

CSegmenter c_segmenter(const CModel& model, const COptions& options) {
  CSegmenter segmenter;
  REQUIRE(e2enet_segmenter_create(model, options, segmenter.place()) == E2ENET_OK);
  return segmenter;
}

bool message_has(const char* text) { return std::string(e2enet_last_error()).find(text) != std::string::npos; }

e2enet::Segmentation expected_of(const TestImage& image, bool probabilities = false) {
  e2enet::Options options;
  options.threads = 2;
  e2enet::Request request;
  request.probabilities = probabilities;
  return e2enet::Segmenter(e2enet::test::small_model(), options).segment(image.view, request);
}

}  // namespace

TEST_CASE("C: what a model says of itself") {
  const CModel model = c_model();
  const e2enet::Model expected = e2enet::test::small_model();
  CHECK(e2enet_model_input_channels(model) == 2);
  CHECK(e2enet_model_classes(model) == 3);
  CHECK(e2enet_model_largest_label(model) == 2);
  int patch[3];
  e2enet_model_patch_size(model, patch);
  CHECK(patch[0] == 8);
  CHECK(patch[1] == 16);
  CHECK(patch[2] == 12);
  REQUIRE(e2enet_model_label_count(model) == 3);
  for (int i = 0; i < 3; ++i) CHECK(e2enet_model_label(model, i) == i);
  CHECK(e2enet_model_label(model, 3) == -1);
  CHECK(e2enet_model_label(model, -1) == -1);
  CHECK(std::string(e2enet_model_label_name(model, 0)) == "background");
  CHECK(e2enet_model_label_name(model, 3) == nullptr);
  CHECK(e2enet_model_parameters(model) == expected.parameters());
  CHECK(e2enet_model_flops_paper(model) == expected.flops_paper());
  CHECK(e2enet_model_flops_executed(model) == expected.flops_executed());

  Text text;
  const COptions options = c_options(1);
  const int small[3] = {4, 8, 8};
  REQUIRE(e2enet_model_json(model, options, small, text.place()) == E2ENET_OK);
  const json info = parsed(text);
  CHECK(info["patch"] == json({4, 8, 8}));
  CHECK(info["threads"] == 1);
  CHECK(info["parameters"] == expected.parameters());
  CHECK(info["configuration"] == json::parse(expected.configuration_json()));
  CHECK(info["layers"].size() == e2enet::layers(expected).size());
  const int odd[3] = {3, 8, 8};
  Text none;
  CHECK(e2enet_model_json(model, options, odd, none.place()) == E2ENET_INVALID_ARGUMENT);
  CHECK(none.object == nullptr);
}

TEST_CASE("C: a model from bytes is the model of the file") {
  const TemporaryFolder folder;
  const std::string path = model_file(folder);
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  CModel model;
  REQUIRE(e2enet_model_from_bytes(bytes.data(), bytes.size(), nullptr, model.place()) == E2ENET_OK);
  CHECK(e2enet_model_parameters(model) == e2enet::test::small_model().parameters());
  CModel cut;
  CHECK(e2enet_model_from_bytes(bytes.data(), bytes.size() - 1, "the cut one", cut.place()) == E2ENET_INVALID_MODEL);
  CHECK(message_has("the cut one"));
  CHECK(e2enet_model_from_bytes(nullptr, 5, nullptr, cut.place()) == E2ENET_INVALID_ARGUMENT);
}

TEST_CASE("C: a model, a segmenter and an image give what the C++ classes give, in the caller's arrays") {
  const TestImage image({10, 22, 18});
  const e2enet::Segmentation expected = expected_of(image, true);
  const CModel model = c_model();
  const CSegmenter segmenter = c_segmenter(model, c_options());
  CHECK(e2enet_segmenter_threads(segmenter) >= 1);
  CHECK(e2enet_segmenter_planned_bytes(segmenter) > 0);
  const CImage input = c_image(image);
  std::vector<std::uint16_t> labels(image.voxels(), 99);
  std::vector<float> probabilities(3 * image.voxels(), -1);
  const CRequest request = c_request(&labels);
  REQUIRE(e2enet_request_set_probabilities(request, probabilities.data(), probabilities.size()) == E2ENET_OK);
  std::int64_t calls = 0;
  const e2enet_progress count = [](void* context, int, std::int64_t, std::int64_t, double) {
    ++*static_cast<std::int64_t*>(context);
    return 1;
  };
  REQUIRE(e2enet_request_set_progress(request, count, &calls) == E2ENET_OK);
  std::vector<std::uint16_t> streamed;
  const e2enet_label_callback append = [](void* context, std::int64_t, std::int64_t slices, const std::uint16_t* some) {
    auto& all = *static_cast<std::vector<std::uint16_t>*>(context);
    all.insert(all.end(), some, some + slices * 22 * 18);
    return 0;
  };
  REQUIRE(e2enet_request_set_label_callback(request, append, &streamed) == E2ENET_OK);
  REQUIRE(e2enet_request_set_mean_intensities(request, 1) == E2ENET_OK);
  CSegmentation found;
  REQUIRE(e2enet_segment(segmenter, input, request, found.place()) == E2ENET_OK);
  CHECK(labels == expected.labels);
  CHECK(streamed == expected.labels);
  CHECK(std::memcmp(probabilities.data(), expected.probabilities.data(), probabilities.size() * sizeof(float)) == 0);
  CHECK(calls > 3);

  CHECK(e2enet_segmentation_empty_image(found) == 0);
  REQUIRE(e2enet_segmentation_label_count(found) == int(expected.statistics.size()));
  Text text;
  REQUIRE(e2enet_segmentation_json(found, text.place()) == E2ENET_OK);
  const json said = parsed(text);
  int index = 0;
  for (const auto& [label, of_label] : expected.statistics) {
    CHECK(e2enet_segmentation_label(found, index++) == label);
    CHECK(e2enet_segmentation_voxels(found, label) == of_label.voxels);
    CHECK(e2enet_segmentation_ml(found, label) == of_label.ml);
    const json& entry = said["labels"][std::to_string(label)];
    CHECK(entry["voxels"] == of_label.voxels);
    CHECK(entry.contains("mean_intensity"));
  }
  CHECK(e2enet_segmentation_label(found, index) == -1);
  CHECK(e2enet_segmentation_voxels(found, 77) == -1);
  CHECK(e2enet_segmentation_ml(found, 77) == -1);

  // Without anything wanted: allowed, and the statistics are there.
  CSegmentation alone;
  REQUIRE(e2enet_segment(segmenter, input, c_request(), alone.place()) == E2ENET_OK);
  CHECK(e2enet_segmentation_voxels(alone, 1) == expected.statistics.at(1).voxels);
  CHECK(e2enet_segment(segmenter, input, c_request(), nullptr) == E2ENET_OK);
}

TEST_CASE("C: an empty image is background everywhere, in the caller's arrays too") {
  TestImage image({9, 17, 13});
  for (auto& channel : image.channels) std::fill(channel.begin(), channel.end(), 0.0f);
  const CModel model = c_model();
  const CSegmenter segmenter = c_segmenter(model, c_options());
  std::vector<std::uint16_t> labels(image.voxels(), 99);
  std::vector<float> probabilities(3 * image.voxels(), -1);
  const CRequest request = c_request(&labels);
  REQUIRE(e2enet_request_set_probabilities(request, probabilities.data(), probabilities.size()) == E2ENET_OK);
  CSegmentation found;
  REQUIRE(e2enet_segment(segmenter, c_image(image), request, found.place()) == E2ENET_OK);
  CHECK(e2enet_segmentation_empty_image(found) == 1);
  CHECK(std::all_of(labels.begin(), labels.end(), [](std::uint16_t label) { return label == 0; }));
  const auto background_end = probabilities.begin() + std::ptrdiff_t(image.voxels());
  CHECK(std::all_of(probabilities.begin(), background_end, [](float p) { return p == 1; }));
  CHECK(std::all_of(background_end, probabilities.end(), [](float p) { return p == 0; }));
}

TEST_CASE("C: arrays of any type and any strides, slices from a function and files give the same labels") {
  const e2enet::Shape shape{10, 22, 18};
  TestImage image(shape);
  for (auto& channel : image.channels) {
    for (float& value : channel) value = std::round(value);  // what int16 can hold
  }
  const e2enet::Segmentation expected = expected_of(image);
  const CModel model = c_model();
  const CSegmenter segmenter = c_segmenter(model, c_options());
  const e2enet::Geometry& geometry = image.view.geometry;
  const auto labels_of = [&](const CImage& input, const char* labels_file = nullptr) {
    std::vector<std::uint16_t> labels(image.voxels(), 99);
    const CRequest request = c_request(&labels);
    REQUIRE(e2enet_request_set_labels_file(request, labels_file) == E2ENET_OK);
    const e2enet_status status = e2enet_segment(segmenter, input, request, nullptr);
    CAPTURE(std::string(e2enet_last_error()));
    REQUIRE(status == E2ENET_OK);
    return labels;
  };

  // The first channel as int16 without gaps, the second as float64 in Fortran order.
  std::vector<std::int16_t> first(image.channels[0].begin(), image.channels[0].end());
  std::vector<double> second(image.voxels());
  for (std::int64_t d = 0, i = 0; d < shape[0]; ++d) {
    for (std::int64_t h = 0; h < shape[1]; ++h) {
      for (std::int64_t w = 0; w < shape[2]; ++w, ++i) {
        second[std::size_t((w * shape[1] + h) * shape[0] + d)] = double(image.channels[1][std::size_t(i)]);
      }
    }
  }
  const void* const channels[2] = {first.data(), second.data()};
  const int types[2] = {E2ENET_INT16, E2ENET_FLOAT64};
  const std::int64_t strides[6] = {0, 0, 0, 8, 8 * shape[0], 8 * shape[0] * shape[1]};
  CImage mixed;
  REQUIRE(e2enet_image_from_arrays(shape.data(), geometry.spacing.data(), geometry.affine.data(), channels, types,
                                   strides, 2, "mixed", mixed.place()) == E2ENET_OK);
  CHECK(e2enet_image_channels(mixed) == 2);
  CHECK(labels_of(mixed) == expected.labels);

  // Backwards along D: the first voxel is in the last slice.
  std::vector<std::vector<float>> turned(2, std::vector<float>(image.voxels()));
  const std::size_t slice = std::size_t(shape[1] * shape[2]);
  for (std::size_t c = 0; c < 2; ++c) {
    for (std::size_t d = 0; d < std::size_t(shape[0]); ++d) {
      std::copy_n(image.channels[c].begin() + std::ptrdiff_t(d * slice), slice,
                  turned[c].end() - std::ptrdiff_t((d + 1) * slice));
    }
  }
  const void* const last[2] = {&turned[0][image.voxels() - slice], &turned[1][image.voxels() - slice]};
  const int floats[2] = {E2ENET_FLOAT32, E2ENET_FLOAT32};
  const std::int64_t down = -std::int64_t(slice) * 4, row = 4 * shape[2];
  const std::int64_t backwards[6] = {down, row, 4, down, row, 4};
  CImage reversed;
  REQUIRE(e2enet_image_from_arrays(shape.data(), nullptr, geometry.affine.data(), last, floats, backwards, 2, nullptr,
                                   reversed.place()) == E2ENET_OK);
  CHECK(labels_of(reversed) == expected.labels);

  const e2enet_slice_reader read = [](void* context, int channel, std::int64_t from, std::int64_t count, float* to) {
    const auto& all = static_cast<TestImage*>(context)->channels[std::size_t(channel)];
    std::copy_n(all.begin() + from * 22 * 18, count * 22 * 18, to);
    return 0;
  };
  CImage sliced;
  REQUIRE(e2enet_image_from_slices(shape.data(), geometry.spacing.data(), nullptr, 2, read, &image, nullptr,
                                   sliced.place()) == E2ENET_OK);
  const TemporaryFolder folder;
  CHECK(labels_of(sliced, folder.file("labels.nii").c_str()) == expected.labels);

  // The labels as an image of two channels: what a file holds arrives, and so do its place and its remarks.
  const std::string path = folder.file("labels.nii");
  const char* const paths[2] = {path.c_str(), path.c_str()};
  CImage opened;
  REQUIRE(e2enet_image_open(paths, 2, opened.place()) == E2ENET_OK);
  std::int64_t found_shape[3];
  double spacing[3], affine[16];
  e2enet_image_geometry(opened, found_shape, spacing, affine);
  CHECK(std::equal(found_shape, found_shape + 3, shape.begin()));
  CHECK(std::equal(spacing, spacing + 3, geometry.spacing.begin()));
  CHECK(std::equal(affine, affine + 16, geometry.affine.begin()));
  e2enet_image_geometry(opened, nullptr, nullptr, nullptr);
  std::vector<float> values(2 * slice);
  REQUIRE(e2enet_image_read(opened, 1, 3, 2, values.data()) == E2ENET_OK);
  CHECK(std::equal(values.begin(), values.end(), expected.labels.begin() + std::ptrdiff_t(3 * slice)));
  CHECK(e2enet_image_read(opened, 2, 0, 1, values.data()) == E2ENET_INVALID_ARGUMENT);
  CHECK(e2enet_image_read(opened, 0, 9, 2, values.data()) == E2ENET_INVALID_ARGUMENT);
  Text text;
  REQUIRE(e2enet_image_json(opened, text.place()) == E2ENET_OK);
  CHECK(parsed(text)["shape"] == json({18, 22, 10}));
  CHECK(parsed(text)["orientation"] == "RAS");
}

TEST_CASE("C: without spacing it is that of the affine; without affine the axes run to the right, front and top") {
  const std::int64_t shape[3] = {4, 5, 6};
  const std::vector<float> values(120);
  const void* const channel = values.data();
  const int type = E2ENET_FLOAT32;
  const double oblique[16] = {0, 3, 0, 0, 2, 0, 0, 0, 0, 0, -4, 0, 0, 0, 0, 1};
  CImage image;
  REQUIRE(e2enet_image_from_arrays(shape, nullptr, oblique, &channel, &type, nullptr, 1, nullptr, image.place()) ==
          E2ENET_OK);
  double spacing[3], affine[16];
  e2enet_image_geometry(image, nullptr, spacing, nullptr);
  CHECK(spacing[0] == 4);
  CHECK(spacing[1] == 3);
  CHECK(spacing[2] == 2);
  const double given[3] = {4, 3, 2};
  CImage plain;
  REQUIRE(e2enet_image_from_arrays(shape, given, nullptr, &channel, &type, nullptr, 1, nullptr, plain.place()) ==
          E2ENET_OK);
  e2enet_image_geometry(plain, nullptr, nullptr, affine);
  CHECK(affine[0] == 2);
  CHECK(affine[5] == 3);
  CHECK(affine[10] == 4);
  CImage neither;
  CHECK(e2enet_image_from_arrays(shape, nullptr, nullptr, &channel, &type, nullptr, 1, nullptr, neither.place()) ==
        E2ENET_INVALID_ARGUMENT);
}

TEST_CASE("C: a callback that fails ends the work with its status, and no file is left") {
  TestImage image({10, 22, 18});
  const CModel model = c_model();
  const CSegmenter segmenter = c_segmenter(model, c_options());
  const TemporaryFolder folder;
  const CRequest request = c_request();
  REQUIRE(e2enet_request_set_labels_file(request, folder.file("labels.nii.gz").c_str()) == E2ENET_OK);
  const CImage input = c_image(image);

  const e2enet_progress stop = [](void*, int, std::int64_t, std::int64_t, double) { return 0; };
  REQUIRE(e2enet_request_set_progress(request, stop, nullptr) == E2ENET_OK);
  CSegmentation none;
  CHECK(e2enet_segment(segmenter, input, request, none.place()) == E2ENET_CANCELLED);
  CHECK(none.object == nullptr);
  REQUIRE(e2enet_request_set_progress(request, nullptr, nullptr) == E2ENET_OK);

  const e2enet_label_callback full = [](void*, std::int64_t, std::int64_t, const std::uint16_t*) { return 28; };
  REQUIRE(e2enet_request_set_label_callback(request, full, nullptr) == E2ENET_OK);
  CHECK(e2enet_segment(segmenter, input, request, nullptr) == E2ENET_CANCELLED);
  CHECK(message_has("28"));
  REQUIRE(e2enet_request_set_label_callback(request, nullptr, nullptr) == E2ENET_OK);

  const e2enet_slice_reader broken = [](void*, int, std::int64_t first, std::int64_t count, float* to) {
    std::fill_n(to, count * 22 * 18, 1.0f);
    return first > 4 ? 5 : 0;
  };
  CImage sliced;
  const e2enet::Geometry& geometry = image.view.geometry;
  REQUIRE(e2enet_image_from_slices(geometry.shape.data(), geometry.spacing.data(), geometry.affine.data(), 2, broken,
                                   nullptr, "the scanner", sliced.place()) == E2ENET_OK);
  CHECK(e2enet_segment(segmenter, sliced, request, nullptr) == E2ENET_CANNOT_READ);
  CHECK(message_has("the scanner"));
  CHECK(std::filesystem::is_empty(folder.path()));

  CHECK(e2enet_segment(segmenter, input, request, nullptr) == E2ENET_OK);
  CHECK(std::filesystem::exists(folder.file("labels.nii.gz")));
}

TEST_CASE("C: errors are values with a message, a message a thread") {
  const CModel model = c_model();
  const TestImage image({8, 16, 12});
  const CImage input = c_image(image);
  std::vector<std::uint16_t> labels(image.voxels());

  auto* nothing = reinterpret_cast<e2enet_model*>(&labels);
  CHECK(e2enet_model_load("no such file", &nothing) == E2ENET_CANNOT_READ);
  CHECK(nothing == nullptr);
  CHECK(std::string(e2enet_last_error()).find("no such file") == 0);
  CHECK(e2enet_model_load(nullptr, &nothing) == E2ENET_INVALID_ARGUMENT);
  CHECK(e2enet_model_load("no such file", nullptr) == E2ENET_INVALID_ARGUMENT);
  CHECK(e2enet_model_load(E2ENET_SOURCE_DIR "/README.md", &nothing) == E2ENET_INVALID_MODEL);

  e2enet_segmenter* refused = nullptr;
  CHECK(e2enet_segmenter_create(nullptr, nullptr, &refused) == E2ENET_INVALID_ARGUMENT);
  CHECK(e2enet_segmenter_create(model, nullptr, nullptr) == E2ENET_INVALID_ARGUMENT);
  COptions options = c_options();
  CHECK(e2enet_options_set_step(nullptr, 1) == E2ENET_INVALID_ARGUMENT);
  REQUIRE(e2enet_options_set_step(options, 2) == E2ENET_OK);
  CHECK(e2enet_segmenter_create(model, options, &refused) == E2ENET_INVALID_ARGUMENT);
  CHECK(refused == nullptr);
  CHECK(std::string(e2enet_last_error()).find("step") == 0);

  CSegmenter segmenter;
  REQUIRE(e2enet_segmenter_create(model, nullptr, segmenter.place()) == E2ENET_OK);
  const CRequest request = c_request(&labels);
  CHECK(e2enet_segment(nullptr, input, request, nullptr) == E2ENET_INVALID_ARGUMENT);
  CHECK(e2enet_segment(segmenter, nullptr, request, nullptr) == E2ENET_INVALID_ARGUMENT);
  CHECK(e2enet_segment(segmenter, input, nullptr, nullptr) == E2ENET_INVALID_ARGUMENT);

  // Arrays that are no result's.
  CHECK(e2enet_request_set_labels(request, labels.data(), labels.size() - 1) == E2ENET_OK);
  CHECK(e2enet_segment(segmenter, input, request, nullptr) == E2ENET_INVALID_ARGUMENT);
  CHECK(message_has("1536 voxels, found one of 1535"));
  CHECK(e2enet_request_set_labels(request, labels.data(), labels.size()) == E2ENET_OK);
  std::vector<float> probabilities(image.voxels());
  CHECK(e2enet_request_set_probabilities(request, probabilities.data(), probabilities.size()) == E2ENET_OK);
  CHECK(e2enet_segment(segmenter, input, request, nullptr) == E2ENET_INVALID_ARGUMENT);
  CHECK(message_has("3 classes"));
  CHECK(e2enet_request_set_probabilities(request, nullptr, 0) == E2ENET_OK);
  CHECK(e2enet_segment(segmenter, input, request, nullptr) == E2ENET_OK);

  // Images that are none.
  const e2enet::Geometry& geometry = image.view.geometry;
  const void* channels[2] = {image.channels[0].data(), nullptr};
  int types[2] = {E2ENET_FLOAT32, E2ENET_FLOAT32};
  CImage none;
  const auto make = [&](int count) {
    return e2enet_image_from_arrays(geometry.shape.data(), geometry.spacing.data(), geometry.affine.data(), channels,
                                    types, nullptr, count, nullptr, none.place());
  };
  CHECK(make(2) == E2ENET_INVALID_ARGUMENT);
  CHECK(make(0) == E2ENET_INVALID_ARGUMENT);
  CHECK(make(-1) == E2ENET_INVALID_ARGUMENT);
  types[0] = 10;
  CHECK(make(1) == E2ENET_INVALID_ARGUMENT);
  CHECK(message_has("10"));
  CHECK(none.object == nullptr);
  types[0] = E2ENET_FLOAT32;
  {
    CImage one;
    REQUIRE(e2enet_image_from_arrays(geometry.shape.data(), geometry.spacing.data(), geometry.affine.data(), channels,
                                     types, nullptr, 1, nullptr, one.place()) == E2ENET_OK);
    CHECK(e2enet_segment(segmenter, one, request, nullptr) == E2ENET_INVALID_IMAGE);
  }
  CHECK(e2enet_image_open(nullptr, 1, none.place()) == E2ENET_INVALID_ARGUMENT);
  const char* const paths[1] = {nullptr};
  CHECK(e2enet_image_open(paths, 1, none.place()) == E2ENET_INVALID_ARGUMENT);
  const std::string message = e2enet_last_error();
  CHECK(message.find("paths") != std::string::npos);
  std::thread([] { CHECK(std::string(e2enet_last_error()).empty()); }).join();
  CHECK(e2enet_last_error() == message);
}

TEST_CASE("C: every ..._free() allows NULL") {
  e2enet_text_free(nullptr);
  e2enet_options_free(nullptr);
  e2enet_model_free(nullptr);
  e2enet_image_free(nullptr);
  e2enet_request_free(nullptr);
  e2enet_segmenter_free(nullptr);
  e2enet_segmentation_free(nullptr);
  e2enet_forecast_free(nullptr);
  e2enet_patch_runner_free(nullptr);
  e2enet_scores_free(nullptr);
}

TEST_CASE("C: the values of options, and those that are none") {
  const CModel model = c_model();
  const TestImage image({10, 22, 18});
  const CImage input = c_image(image);
  COptions options = c_options();
  const auto labels = [&](int largest_component) {
    REQUIRE(e2enet_options_set_largest_component(options, largest_component) == E2ENET_OK);
    const CSegmenter segmenter = c_segmenter(model, options);
    std::vector<std::uint16_t> values(image.voxels());
    CHECK(e2enet_segment(segmenter, input, c_request(&values), nullptr) == E2ENET_OK);
    return values;
  };
  const auto all = labels(E2ENET_LARGEST_COMPONENT_ALL);
  const auto none = labels(E2ENET_LARGEST_COMPONENT_NONE);
  CHECK(all != none);
  CHECK(labels(E2ENET_LARGEST_COMPONENT_MODEL) == none);  // this model names no label
  const auto refused = [&](const char* option) {
    e2enet_segmenter* segmenter = nullptr;
    CHECK(e2enet_segmenter_create(model, options, &segmenter) == E2ENET_INVALID_ARGUMENT);
    CHECK(segmenter == nullptr);
    CHECK(message_has(option));
  };
  for (const int wrong : {-1, 3, 2147483647}) {
    CAPTURE(wrong);
    options = c_options();
    REQUIRE(e2enet_options_set_largest_component(options, wrong) == E2ENET_OK);
    refused("largest_component");
    options = c_options();
    REQUIRE(e2enet_options_set_precision(options, wrong) == E2ENET_OK);
    refused("precision");
  }
  for (const double step : {1e-12, 0.0, -1.0, 1.5, std::nan("")}) {
    CAPTURE(step);
    options = c_options();
    REQUIRE(e2enet_options_set_step(options, step) == E2ENET_OK);
    refused("step");
  }
  for (const int threads : {-1, 4097}) {
    options = c_options(threads);
    refused("threads");
  }
  options = c_options();
  REQUIRE(e2enet_options_set_memory_limit(options, -1) == E2ENET_OK);
  refused("memory_limit");

  options = c_options();
  REQUIRE(e2enet_options_set_mirror(options, 7) == E2ENET_OK);
  REQUIRE(e2enet_options_set_precision(options, E2ENET_PRECISION_BF16) == E2ENET_OK);
  const CSegmenter mirroring = c_segmenter(model, options);
  CSegmentation found;
  REQUIRE(e2enet_segment(mirroring, input, c_request(), found.place()) == E2ENET_OK);
  Text text;
  REQUIRE(e2enet_segmentation_json(found, text.place()) == E2ENET_OK);
  CHECK(parsed(text)["precision"] == "bf16");
}

TEST_CASE("C: a forecast says what fits, and the smallest limit works") {
  const CModel model = c_model();
  const TestImage image({30, 40, 36});
  const CImage input = c_image(image);
  COptions options = c_options(1);
  REQUIRE(e2enet_options_set_memory_limit(options, 1 << 20) == E2ENET_OK);
  const CSegmenter small = c_segmenter(model, options);
  CHECK(e2enet_segment(small, input, c_request(), nullptr) == E2ENET_MEMORY_LIMIT);
  CForecast forecast;
  REQUIRE(e2enet_segmenter_forecast(small, input, c_request(), forecast.place()) == E2ENET_OK);
  CHECK(e2enet_forecast_fits(forecast) == 0);
  CHECK(e2enet_forecast_runs(forecast) > 1);
  CHECK(e2enet_forecast_seconds(forecast) > 0);
  CHECK(e2enet_forecast_peak_bytes(forecast) > 1 << 20);
  const std::int64_t least = e2enet_forecast_smallest_limit_bytes(forecast);
  CHECK(least >= e2enet_forecast_peak_bytes(forecast));
  Text text;
  REQUIRE(e2enet_forecast_json(forecast, text.place()) == E2ENET_OK);
  CHECK(parsed(text)["smallest_limit_bytes"] == least);
  CHECK(parsed(text)["fits"] == false);
  CHECK(parsed(text)["plans"].size() >= 2);
  // Another Segmenter takes memory of its own: with some room.
  REQUIRE(e2enet_options_set_memory_limit(options, least + (64 << 20)) == E2ENET_OK);
  const CSegmenter enough = c_segmenter(model, options);
  CHECK(e2enet_segment(enough, input, c_request(), nullptr) == E2ENET_OK);
}

TEST_CASE("C: a box, and one that is outside") {
  const CModel model = c_model();
  const TestImage image({10, 22, 18});
  const CSegmenter segmenter = c_segmenter(model, c_options());
  std::vector<std::uint16_t> labels(image.voxels());
  const CRequest request = c_request(&labels);
  const std::int64_t begin[3] = {2, 3, 4}, end[3] = {9, 20, 15}, outside[3] = {11, 20, 15};
  REQUIRE(e2enet_request_set_box(request, begin, end) == E2ENET_OK);
  REQUIRE(e2enet_segment(segmenter, c_image(image), request, nullptr) == E2ENET_OK);
  e2enet::Options options;
  options.threads = 2;
  e2enet::Request boxed;
  boxed.box = e2enet::Box{{2, 3, 4}, {9, 20, 15}};
  CHECK(labels == e2enet::Segmenter(e2enet::test::small_model(), options).segment(image.view, boxed).labels);
  REQUIRE(e2enet_request_set_box(request, begin, outside) == E2ENET_OK);
  CHECK(e2enet_segment(segmenter, c_image(image), request, nullptr) == E2ENET_INVALID_ARGUMENT);
  CHECK(e2enet_request_set_box(request, begin, nullptr) == E2ENET_INVALID_ARGUMENT);
  REQUIRE(e2enet_request_set_box(request, nullptr, nullptr) == E2ENET_OK);
  CHECK(e2enet_segment(segmenter, c_image(image), request, nullptr) == E2ENET_OK);
}

TEST_CASE("C: the caller's own threads do the work") {
  const CModel model = c_model();
  const TestImage image({10, 22, 18});
  COptions options = c_options(2);
  std::int64_t teams = 0;
  const e2enet_parallel_for run = [](void* context, int threads, void (*body)(void*, int), void* of_body) {
    ++*static_cast<std::int64_t*>(context);
    std::vector<std::thread> others;
    for (int thread = 1; thread < threads; ++thread) others.emplace_back(body, of_body, thread);
    body(of_body, 0);
    for (std::thread& one : others) one.join();
  };
  REQUIRE(e2enet_options_set_parallel_for(options, run, &teams) == E2ENET_OK);
  const CSegmenter segmenter = c_segmenter(model, options);
  std::vector<std::uint16_t> labels(image.voxels());
  REQUIRE(e2enet_segment(segmenter, c_image(image), c_request(&labels), nullptr) == E2ENET_OK);
  CHECK(labels == expected_of(image).labels);
  CHECK((teams > 0) == (e2enet_available_threads() > 1));  // one thread alone needs no team
}

TEST_CASE("C: the network works in the caller's arena, and one that is too small is refused") {
  const CModel model = c_model();
  const TestImage image({10, 22, 18});
  COptions options = c_options(2);
  std::size_t bytes = 0;
  REQUIRE(e2enet_arena_bytes(model, options, nullptr, &bytes) == E2ENET_OK);
  CHECK(bytes > 1000);
  CHECK(e2enet_arena_bytes(model, options, nullptr, nullptr) == E2ENET_INVALID_ARGUMENT);
  void* const memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  REQUIRE(memory != nullptr);
  REQUIRE(e2enet_options_set_arena(options, memory, bytes - 1) == E2ENET_OK);
  e2enet_segmenter* none = nullptr;
  CHECK(e2enet_segmenter_create(model, options, &none) == E2ENET_INVALID_ARGUMENT);
  CHECK(message_has("arena"));
  REQUIRE(e2enet_options_set_arena(options, memory, bytes) == E2ENET_OK);
  std::vector<std::uint16_t> labels(image.voxels());
  {
    const CSegmenter segmenter = c_segmenter(model, options);
    REQUIRE(e2enet_segment(segmenter, c_image(image), c_request(&labels), nullptr) == E2ENET_OK);
  }
  CHECK(labels == expected_of(image).labels);
  std::free(memory);
}

TEST_CASE("C: a zeroed affine is refused; remarks and implausible spacings") {
  const TestImage image({10, 22, 18});
  const CModel model = c_model();
  COptions options = c_options();
  const CSegmenter segmenter = c_segmenter(model, options);
  e2enet::Geometry geometry = image.view.geometry;
  const void* const channels[2] = {image.channels[0].data(), image.channels[1].data()};
  const int types[2] = {E2ENET_FLOAT32, E2ENET_FLOAT32};
  CImage input;
  const auto make = [&] {
    e2enet_image_free(std::exchange(input.object, nullptr));
    return e2enet_image_from_arrays(geometry.shape.data(), geometry.spacing.data(), geometry.affine.data(), channels,
                                    types, nullptr, 2, nullptr, input.place());
  };
  REQUIRE(make() == E2ENET_OK);
  CHECK(std::string(e2enet_image_remarks(input)).empty());
  geometry.affine.fill(0);
  CHECK(make() == E2ENET_INVALID_ARGUMENT);
  CHECK(message_has("affine"));
  geometry = image.view.geometry;
  geometry.affine[10] = 3;
  REQUIRE(make() == E2ENET_OK);
  CHECK(std::string(e2enet_image_remarks(input)).find("3 mm3") != std::string::npos);
  geometry = image.view.geometry;
  geometry.spacing[1] = 0.001;
  REQUIRE(make() == E2ENET_OK);
  CHECK(e2enet_segment(segmenter, input, c_request(), nullptr) == E2ENET_INVALID_IMAGE);
  CHECK(message_has("0.001 mm along j"));
  REQUIRE(e2enet_options_set_allow_implausible_spacing(options, 1) == E2ENET_OK);
  CHECK(e2enet_segment(c_segmenter(model, options), input, c_request(), nullptr) == E2ENET_OK);
}

TEST_CASE("C: a patch runner gives the logits of the C++ class, and says what it took") {
  const CModel model = c_model();
  const COptions options = c_options(1);
  const int patch[3] = {4, 8, 8};
  CRunner runner;
  REQUIRE(e2enet_patch_runner_create(model, options, patch, "direct", runner.place()) == E2ENET_OK);
  int found_patch[3];
  e2enet_patch_runner_patch(runner, found_patch);
  CHECK(std::equal(patch, patch + 3, found_patch));
  e2enet::PatchOptions expected_options;
  expected_options.patch = {4, 8, 8};
  expected_options.threads = 1;
  expected_options.algorithm = "direct";
  e2enet::PatchRunner expected_runner(e2enet::test::small_model(), expected_options);
  const std::vector<float> input = e2enet::noise_patch(2, {4, 8, 8});
  std::vector<float> logits(3 * 256), expected(3 * 256);
  expected_runner.run(input.data(), expected.data());
  REQUIRE(e2enet_patch_runner_run(runner, input.data(), logits.data()) == E2ENET_OK);
  CHECK(std::memcmp(logits.data(), expected.data(), logits.size() * sizeof(float)) == 0);
  CHECK(e2enet_patch_runner_run(runner, input.data(), nullptr) == E2ENET_OK);
  CHECK(e2enet_patch_runner_run(runner, nullptr, logits.data()) == E2ENET_INVALID_ARGUMENT);
  CHECK(e2enet_patch_runner_planned_bytes(runner) == expected_runner.planned_bytes());
  Text text;
  REQUIRE(e2enet_patch_runner_json(runner, text.place()) == E2ENET_OK);
  const json profile = parsed(text);
  CHECK(profile["patch"] == json({4, 8, 8}));
  CHECK(profile["precision"] == "f32");
  CHECK(profile["layers"].size() == expected_runner.step_times().size());
  CHECK(profile["seconds"] > 0);

  CRunner refused;
  CHECK(e2enet_patch_runner_create(model, options, nullptr, "magic", refused.place()) == E2ENET_INVALID_ARGUMENT);
  CHECK(message_has("magic"));
}

TEST_CASE("C: scores of arrays and of files") {
  const std::int64_t shape[3] = {4, 5, 6};
  const double spacing[3] = {2, 1, 1};
  std::vector<std::uint16_t> prediction(120), reference(120);
  for (std::size_t i = 0; i < 30; ++i) prediction[i] = 1;
  for (std::size_t i = 0; i < 60; ++i) reference[i] = 1;
  reference[119] = 7;
  CScores scores;
  REQUIRE(e2enet_evaluate(prediction.data(), reference.data(), shape, spacing, 1.0, nullptr, 0, 1, scores.place()) ==
          E2ENET_OK);
  REQUIRE(e2enet_scores_label_count(scores) == 2);
  CHECK(e2enet_scores_label(scores, 0) == 1);
  CHECK(e2enet_scores_label(scores, 1) == 7);
  CHECK(e2enet_scores_dice(scores, 1) == doctest::Approx(60.0 / 90));
  CHECK(e2enet_scores_dice(scores, 7) == 0);
  CHECK(e2enet_scores_nsd(scores, 7) == 0);
  CHECK(e2enet_scores_hd95(scores, 7) == std::numeric_limits<double>::infinity());
  CHECK(e2enet_scores_hd95(scores, 1) == 2);
  CHECK(std::isnan(e2enet_scores_dice(scores, 3)));
  Text text;
  REQUIRE(e2enet_scores_json(scores, text.place()) == E2ENET_OK);
  CHECK(parsed(text)["7"]["hd95"].is_null());
  CHECK(parsed(text)["7"]["hd95_infinite"] == true);
  CHECK(parsed(text)["1"]["prediction_voxels"] == 30);
  CHECK(parsed(text)["1"]["reference_ml"] == doctest::Approx(0.12));

  const int asked[2] = {1, 3};
  CScores some;
  REQUIRE(e2enet_evaluate(prediction.data(), reference.data(), shape, spacing, 1.0, asked, 2, 1, some.place()) ==
          E2ENET_OK);
  CHECK(e2enet_scores_label_count(some) == 2);
  CHECK(std::isnan(e2enet_scores_dice(some, 3)));  // neither has it
  const int background[1] = {0};
  CScores none;
  CHECK(e2enet_evaluate(prediction.data(), reference.data(), shape, spacing, 1.0, background, 1, 1, none.place()) ==
        E2ENET_INVALID_ARGUMENT);
  CHECK(e2enet_evaluate(prediction.data(), reference.data(), shape, spacing, -1, nullptr, 0, 1, none.place()) ==
        E2ENET_INVALID_ARGUMENT);
  const std::int64_t huge[3] = {1 << 22, 1 << 22, 1 << 22};
  CHECK(e2enet_evaluate(prediction.data(), reference.data(), huge, spacing, 1, nullptr, 0, 1, none.place()) ==
        E2ENET_INVALID_ARGUMENT);

  // Files: two segmentations, one of a box, and one that lies elsewhere.
  const CModel model = c_model();
  const CSegmenter segmenter = c_segmenter(model, c_options());
  const TemporaryFolder folder;
  TestImage image({10, 22, 18});
  const auto write = [&](const std::string& name, std::int64_t depth) {
    const CRequest request = c_request();
    const std::int64_t begin[3] = {0, 0, 0}, end[3] = {depth, 22, 18};
    REQUIRE(e2enet_request_set_box(request, begin, end) == E2ENET_OK);
    REQUIRE(e2enet_request_set_labels_file(request, folder.file(name).c_str()) == E2ENET_OK);
    REQUIRE(e2enet_segment(segmenter, c_image(image), request, nullptr) == E2ENET_OK);
    return folder.file(name);
  };
  const std::string whole = write("whole.nii", 10), part = write("part.nii", 5);
  image.view.geometry.affine[3] = 12;
  const std::string moved = write("moved.nii", 10);
  image.view.geometry.affine[0] = -1;
  const std::string turned = write("turned.nii", 10);
  const auto compare = [&](const std::string& one, const std::string& other, CScores& found) {
    return e2enet_evaluate_files(one.c_str(), other.c_str(), 1.0, nullptr, 0, 1, found.place());
  };
  CScores same, partly, apart;
  REQUIRE(compare(whole, whole, same) == E2ENET_OK);
  CHECK(e2enet_scores_dice(same, 1) == 1);
  CHECK(std::string(e2enet_scores_remarks(same)).empty());
  REQUIRE(compare(part, whole, partly) == E2ENET_OK);
  CHECK(e2enet_scores_dice(partly, 1) < 1);
  REQUIRE(compare(moved, whole, apart) == E2ENET_OK);
  CHECK(std::string(e2enet_scores_remarks(apart)).find("12.00 mm") != std::string::npos);
  CHECK(compare(turned, whole, none) == E2ENET_INVALID_IMAGE);
  CHECK(compare(folder.file("missing.nii"), whole, none) == E2ENET_CANNOT_READ);
}

TEST_CASE("C: the machine and the version") {
  CHECK(e2enet_available_threads() >= 1);
  CHECK(std::string(e2enet_instruction_set()) == e2enet::instruction_set());
  CHECK(e2enet_resident_bytes() > 0);
  CHECK(e2enet_peak_resident_bytes() >= e2enet_resident_bytes() / 2);
  CHECK(std::string(e2enet_version()) == E2ENET_VERSION);
  CHECK(e2enet_version_number() == E2ENET_VERSION_NUMBER);
}
