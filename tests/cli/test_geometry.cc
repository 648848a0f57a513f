// Where an image lies, how large its voxels are, and what the program says of both.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "image/orientation.h"
#include "program_fixture.h"
#include "report/anatomical_view.h"
#include "support/nifti_images.h"

namespace {

using e2enet::Affine;
using e2enet::Geometry;
using e2enet::imaging::NiftiHeader;
using e2enet::test::Result;
using e2enet::test::Workshop;
using nlohmann::json;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Columns in random directions: a rotation of any angle, or three directions that have nothing to do with each other.
Affine random_affine(std::mt19937& random, bool sheared) {
  std::normal_distribution<double> normal;
  std::array<std::array<double, 3>, 3> columns;
  for (std::size_t c = 0; c < 3; ++c) {
    for (double& value : columns[c]) value = normal(random);
    for (std::size_t before = 0; before < c && !sheared; ++before) {
      double along = 0;
      for (std::size_t r = 0; r < 3; ++r) along += columns[c][r] * columns[before][r];
      for (std::size_t r = 0; r < 3; ++r) columns[c][r] -= along * columns[before][r];
    }
    const double length = std::hypot(columns[c][0], columns[c][1], columns[c][2]);
    for (double& value : columns[c]) value /= length;
  }
  const std::array<double, 3> scale{0.7, 1.0, 4.0};
  Affine affine{};
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t c = 0; c < 3; ++c) affine[4 * r + c] = columns[c][r] * scale[c];
  }
  affine[15] = 1;
  return affine;
}

NiftiHeader plain_header(double spacing, const e2enet::Shape& shape = {11, 20, 18}) {
  Geometry geometry;
  geometry.shape = shape;
  geometry.spacing = {spacing, spacing, spacing};
  geometry.affine = {spacing, 0, 0, 0, 0, spacing, 0, 0, 0, 0, spacing, 0, 0, 0, 0, 1};
  return NiftiHeader::from_geometry(geometry);
}

void write_image(const std::string& path, const NiftiHeader& header, std::vector<float> voxels = {}) {
  if (voxels.empty()) {
    std::mt19937 random(5);
    for (std::int64_t i = 0; i < header.geometry().voxels(); ++i) voxels.push_back(float(random() % 1000) + 1);
  }
  e2enet::imaging::write_volumes(path, header, voxels.data(), 1);
}

}  // namespace

TEST_CASE("the preview's sides are those of the labels, for any rotation and shear") {
  std::mt19937 random(1);
  Geometry geometry;
  geometry.shape = {5, 6, 7};
  const std::string positive = "RAS", negative = "LPI";
  for (int round = 0; round < 10000; ++round) {
    geometry.affine = random_affine(random, round % 2 == 1);
    const std::string code = e2enet::imaging::orientation_code(geometry.affine);
    const e2enet::report::AnatomicalView view(geometry);
    for (std::size_t world = 0; world < 3; ++world) {
      const auto file = static_cast<std::size_t>(view.file_axis[world]);
      REQUIRE(code[file] == (view.flipped[world] ? negative : positive)[world]);
      REQUIRE(view.extent[world] == geometry.shape[2 - file]);
    }
  }
}

TEST_CASE("volumes are by the matrix in use; a warning gives both numbers, in JSON and with --quiet too") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  NiftiHeader header = plain_header(1);
  header.s_rows[10] = 2;  // z by the sform; pixdim says 1
  write_image(shop.path("image.nii"), header);
  const Result result = shop.run({"segment", "-m", "model.safetensors", "-i", "image.nii", "-o", "labels.nii",
                                  "--statistics", "s.json", "--preview", "p.png", "--json"});
  CAPTURE(result.errors);
  REQUIRE(result.code == 0);
  CHECK(contains(result.errors, "e2enet segment: warning: image.nii: a voxel has 2 mm3"));
  const json segmented = json::parse(result.output),
             statistics = json::parse(e2enet::test::read_file(shop.path("s.json")));
  for (const json& one : {segmented, statistics}) {
    CHECK(one.at("voxel_ml").get<double>() == doctest::Approx(0.002));
    CHECK(contains(one.at("remarks").at(0), "warning: image.nii: a voxel has 2 mm3"));
    std::int64_t voxels = 0;
    for (const auto& [value, label] : one.at("labels").items()) {
      voxels += label.at("voxels").get<std::int64_t>();
      CHECK(label.at("ml").get<double>() == doctest::Approx(label.at("voxels").get<double>() * 0.002));
    }
    CHECK(voxels > 0);
  }
  CHECK(segmented.at("geometry").at("matrix") == "sform");
  CHECK(segmented.at("geometry").at("orientation") == "RAS");
  CHECK(segmented.at("geometry").at("affine").at(2) == json({0.0, 0.0, 2.0, 0.0}));
  CHECK(segmented.at("geometry").at("spacing") == json({1.0, 1.0, 1.0}));
  CHECK(segmented.at("geometry").at("shape") == json({18, 20, 11}));

  // The labels carry the geometry, and `evaluate` says the same.
  const Result scores = shop.run({"evaluate", "-p", "labels.nii", "-r", "labels.nii", "--json"});
  REQUIRE(scores.code == 0);
  CHECK(contains(scores.errors, "e2enet evaluate: warning: labels.nii: a voxel has 2 mm3"));
  const json evaluated = json::parse(scores.output);
  CHECK(evaluated.at("remarks").size() == 2);
  for (const auto& [value, label] : segmented.at("labels").items()) {
    if (label.at("voxels") == 0) continue;
    CHECK(evaluated.at("labels").at(value).at("reference_ml").get<double>() ==
          doctest::Approx(label.at("ml").get<double>()));
  }

  CHECK(contains(shop.run({"segment", "-q", "-m", "model.safetensors", "-i", "image.nii", "-o", "labels.nii"}).errors,
                 "warning: image.nii: a voxel has 2 mm3"));
}

TEST_CASE("a remark on an image that does not tell how it lies; not with --quiet") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  NiftiHeader header = plain_header(1);
  header.sform_code = 0;
  write_image(shop.path("image.nii"), header);
  const std::vector<std::string> call = {"segment", "-m", "model.safetensors", "-i", "image.nii", "-o", "labels.nii"};
  const Result result = shop.run(call);
  REQUIRE(result.code == 0);
  CHECK(contains(result.errors, "e2enet segment: remark: image.nii: it does not tell how it lies"));
  std::vector<std::string> quiet = call;
  quiet.push_back("--quiet");
  CHECK(shop.run(quiet).errors == "");
  const Result prepared = shop.run({"preprocess", "-m", "model.safetensors", "-i", "image.nii", "-o", "x.npy"});
  CHECK(prepared.code == 0);
  CHECK(contains(prepared.errors, "e2enet preprocess: remark: image.nii: it does not tell how it lies"));
  std::filesystem::create_directory(shop.path("images"));
  std::filesystem::create_directory(shop.path("labels"));
  std::filesystem::rename(shop.path("image.nii"), shop.path("images/a.nii"));
  std::filesystem::rename(shop.path("labels.nii"), shop.path("labels/a.nii"));
  e2enet::test::write_file(shop.path("second.safetensors"), e2enet::test::read_file(shop.path("model.safetensors")));
  const Result compared =
      shop.run({"tradeoff", "-m", "model.safetensors", "second.safetensors", "-i", "images", "-r", "labels", "--json"});
  CAPTURE(compared.errors);
  REQUIRE(compared.code == 0);
  const std::string line = "e2enet tradeoff: remark: images/a.nii: it does not tell how it lies";
  CHECK(contains(compared.errors, line));
  CHECK(compared.errors.find(line) == compared.errors.rfind(line));  // once, not for every model
  CHECK(json::parse(compared.output).at("models").at(1).at("remarks").size() == 2);
}

TEST_CASE("an implausible spacing is refused by every command that reads images, unless forced") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  std::filesystem::create_directory(shop.path("images"));
  std::filesystem::create_directory(shop.path("labels"));
  for (const double spacing : {0.001, 400.0}) {
    CAPTURE(spacing);
    write_image(shop.path("images/a.nii"), plain_header(spacing));
    write_image(shop.path("labels/a.nii"), plain_header(spacing), std::vector<float>(11 * 20 * 18, 1.0f));
    for (std::vector<std::string> call :
         {std::vector<std::string>{"segment", "-m", "model.safetensors", "-i", "images/a.nii", "-o", "o.nii"},
          {"segment", "-m", "model.safetensors", "-i", "images/a.nii", "-o", "o.nii", "--dry-run"},
          {"preprocess", "-m", "model.safetensors", "-i", "images/a.nii", "-o", "x.npy"},
          {"tradeoff", "-m", "model.safetensors", "-i", "images", "-r", "labels"}}) {
      CAPTURE(call[0]);
      const Result refused = shop.run(call);
      CHECK(refused.code == 1);
      CHECK(contains(refused.errors, "images/a.nii: spacing: expected a field of view"));
      CHECK(contains(refused.errors, spacing < 1 ? "0.001 mm along i" : "400 mm along i"));
      call.push_back("--force");
      const Result forced = shop.run(call);
      CAPTURE(forced.errors);
      CHECK(forced.code == 0);
    }
    std::filesystem::remove(shop.path("o.nii"));
  }
}

TEST_CASE("a spacing beyond reason is refused before memory is estimated from it, even when forced") {
  const Workshop shop;
  e2enet::test::write_file(shop.path("config.json"),
                           R"({"input_channels": 1, "classes": 2, "base_features": 2, "patch_size": [8, 16, 16],
                               "pool_strides": [[2, 2, 2]], "preprocessing": {"spacing": [1, 1, 1]}})");
  REQUIRE(shop.run({"random", "-o", "model.safetensors", "--config", "config.json"}).code == 0);
  for (const double spacing : {1e7, 1e30}) {
    NiftiHeader header = plain_header(1);
    for (std::size_t axis = 1; axis <= 3; ++axis) header.pixdim[axis] = spacing;
    write_image(shop.path("image.nii"), header);
    for (const bool dry : {false, true}) {
      std::vector<std::string> call = {"segment", "-m",     "model.safetensors", "-i", "image.nii", "-o",
                                       "o.nii",   "--force"};
      if (dry) call.push_back("--dry-run");
      const Result result = shop.run(call);
      CHECK(result.code == 1);
      CHECK(contains(result.errors, "image.nii: spacing along network axis 0: expected one near the model's"));
    }
  }
}

TEST_CASE("infinite voxels are refused with the file, the first voxel and their number") {
  const Workshop shop;
  shop.make_model("model.safetensors", 2);
  const NiftiHeader header = plain_header(1);
  std::vector<float> voxels(11 * 20 * 18, 1.0f);
  write_image(shop.path("good.nii"), header, voxels);
  voxels[(7 * 20 + 3) * 18 + 5] = -std::numeric_limits<float>::infinity();
  voxels[(7 * 20 + 4) * 18 + 1] = std::numeric_limits<float>::infinity();
  voxels[(9 * 20 + 0) * 18 + 0] = std::numeric_limits<float>::infinity();
  write_image(shop.path("bad.nii.gz"), header, voxels);
  for (const std::string command : {"segment", "preprocess"}) {
    const Result result = shop.run({command, "-m", "model.safetensors", "-i", "good.nii", "bad.nii.gz", "-o",
                                    command == "segment" ? "o.nii" : "x.npy"});
    CHECK(result.code == 1);
    CHECK(contains(result.errors,
                   "bad.nii.gz: voxels: expected finite values (of float32), found 3 infinite, the first at "
                   "(i, j, k) = (5, 3, 7)"));
  }
}
