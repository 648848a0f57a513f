// Preprocessing and export, vector by vector: the sets in tests/data/golden, which a plain reference made
// (tests/python/make_golden.py), and the original implementation's own, of real scans, in the shared folder.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "image/formats/nifti/nifti_reader.h"
#include "labels/label_export.h"
#include "prepare/preprocess.h"
#include "support/npy.h"
#include "support/paths.h"

using namespace e2enet;
using namespace e2enet::imaging;
using nlohmann::json;

namespace {

std::string committed() { return test::source_path("tests/data/golden/"); }
std::string shared() { return test::shared_path("golden/"); }

json read_json(const std::string& path) {
  std::ifstream file(path);
  return json::parse(file);
}

std::vector<std::unique_ptr<ImageReader>> open_channels(const std::string& prefix) {
  std::vector<std::unique_ptr<ImageReader>> readers;
  for (int c = 0; c < 10; ++c) {
    const std::string path = prefix + "_000" + std::to_string(c) + ".nii.gz";
    if (!std::filesystem::exists(path)) break;
    readers.push_back(std::make_unique<ImageReader>(path));
  }
  return readers;
}

model::Preprocessing configuration_of(const json& info, std::size_t channels) {
  model::Preprocessing configuration;
  configuration.spacing = info.at("target_spacing_transposed_frame").get<Spacing>();
  configuration.transpose_forward = info.at("transpose_forward").get<std::array<int, 3>>();
  configuration.orientation = info.value("orientation", "");
  const std::string scheme = info.at("scheme");
  for (std::size_t c = 0; c < channels; ++c) {
    const auto* entry = std::find_if(std::begin(model::kNormalizationSchemes), std::end(model::kNormalizationSchemes),
                                     [&](const auto& one) { return scheme == one.name; });
    REQUIRE(entry != std::end(model::kNormalizationSchemes));
    model::Normalization normalization(entry->scheme);
    normalization.use_mask = info.at("use_mask_for_norm");
    if (!info.at("intensityproperties").is_null()) {
      const json& properties = info.at("intensityproperties").at(c);
      normalization.clip_low = properties.at("percentile_00_5");
      normalization.clip_high = properties.at("percentile_99_5");
      normalization.mean = properties.at("mean");
      normalization.standard_deviation = properties.at("sd");
    }
    configuration.normalization.push_back(normalization);
  }
  return configuration;
}

// Largest difference over the kept voxels, relative to max(1, |expected|).
double largest_difference(const float* found, int channels, const Shape& shape, const test::Array<float>& expected,
                          int every) {
  double largest = 0;
  std::size_t at = 0;
  for (int c = 0; c < channels; ++c) {
    for (std::int64_t d = 0; d < shape[0]; d += every) {
      for (std::int64_t h = 0; h < shape[1]; h += every) {
        for (std::int64_t w = 0; w < shape[2]; w += every) {
          const double want = expected.values.at(at++);
          const double got = found[((c * shape[0] + d) * shape[1] + h) * shape[2] + w];
          const double difference = std::abs(got - want) / std::max(1.0, std::abs(want));
          largest = std::isnan(difference) ? HUGE_VAL : std::max(largest, difference);
        }
      }
    }
  }
  CHECK(at == expected.values.size());
  return largest;
}

std::vector<SliceSource*> sources_of(const std::vector<std::unique_ptr<ImageReader>>& readers) {
  std::vector<SliceSource*> sources;
  for (const auto& reader : readers) sources.push_back(reader.get());
  return sources;
}

void check_volumes(const std::string& golden, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    CAPTURE(name);
    const auto expected = test::read_npy<float>(golden + "prep/src_" + name + ".npy.gz");
    const auto readers = open_channels(golden + "prep/src_" + name);
    REQUIRE(!readers.empty());
    std::vector<float> voxels;
    for (const auto& reader : readers) {
      const std::size_t at = voxels.size();
      voxels.resize(at + static_cast<std::size_t>(reader->geometry().voxels()));
      reader->read(0, reader->shape()[0], voxels.data() + at);
    }
    REQUIRE(voxels.size() == expected.values.size());
    CHECK(std::memcmp(voxels.data(), expected.values.data(), voxels.size() * sizeof(float)) == 0);  // NaNs too
  }
}

void check_preprocessing(const std::string& golden, std::size_t number_of_cases) {
  const json cases = read_json(golden + "prep/cases.json");
  CHECK(cases.size() == number_of_cases);
  for (const auto& item : cases.items()) {
    const std::string& name = item.key();
    const json& info = item.value();
    CAPTURE(name);
    const std::string source = info.at("source");
    const auto readers = open_channels(golden + "prep/src_" + source);
    const std::vector<SliceSource*> sources = sources_of(readers);
    const Geometry& geometry = readers.at(0)->geometry();
    const Spacing spacing = info.at("original_spacing").get<Spacing>();
    for (std::size_t a = 0; a < 3; ++a) CHECK(geometry.spacing[a] == doctest::Approx(spacing[a]));

    model::Preprocessing configuration = configuration_of(info, sources.size());
    SurveyOptions options = PreprocessPlan::survey_options(geometry, configuration);
    options.mask = true;  // the vectors have the mask also where normalisation does not use it
    Survey survey = survey_image(sources, options);
    for (std::size_t a = 0; a < 3; ++a) {
      CHECK(survey.box.begin[a] == info.at("crop_bbox").at(a).at(0));
      CHECK(survey.box.end[a] == info.at("crop_bbox").at(a).at(1));
    }
    const PreprocessPlan plan(geometry, survey, configuration);
    for (std::size_t a = 0; a < 3; ++a) CHECK(plan.shape()[a] == info.at("size_after_resampling").at(a + 1));

    {
      const auto expected = test::read_npy<int>(golden + "prep/" + name + "_seg_resampled.npy.gz");
      MaskResampler mask(*survey.mask, plan.mask_operators(), plan.frame());
      const Shape file = mask.shape(), network = plan.shape();
      std::vector<std::uint8_t> slice(static_cast<std::size_t>(file[1] * file[2]));
      int different = 0;
      for (std::int64_t d = 0; d < file[0]; ++d) {
        mask.slice(d, slice.data());
        for (std::int64_t h = 0; h < file[1]; ++h) {
          for (std::int64_t w = 0; w < file[2]; ++w) {
            const std::int64_t at[3] = {d, h, w};
            std::int64_t there = 0;
            for (std::size_t a = 0; a < 3; ++a) {
              const std::int64_t along = at[plan.frame().source[a]];
              there = there * network[a] + (plan.frame().flip[a] ? network[a] - 1 - along : along);
            }
            const int inside = slice[static_cast<std::size_t>(h * file[2] + w)];
            different += expected.values.at(static_cast<std::size_t>(there)) != inside - 1;
          }
        }
      }
      CHECK(different == 0);
    }

    for (const bool normalised : {false, true}) {
      const std::string file = golden + ("prep/" + name + (normalised ? "_normalised" : "_resampled") + ".npy.gz");
      if (!std::filesystem::exists(file)) continue;
      CAPTURE(normalised);
      model::Preprocessing used = configuration;
      if (!normalised) {
        for (model::Normalization& n : used.normalization) n.scheme = model::NormalizationScheme::none;
      }
      for (const int threads : {1, 3}) {
        CAPTURE(threads);
        Survey fresh = survey_image(sources, options);
        const PreprocessPlan this_plan(geometry, fresh, used);
        const Preprocessed result = preprocess(this_plan, sources, fresh, {1, 1, 1}, threads);
        const int every = info.at(normalised ? "normalised_saved_every" : "resampled_saved_every");
        const auto expected = test::read_npy<float>(file);
        const double difference = largest_difference(result.channel(0), result.channels, result.shape, expected, every);
        CHECK(difference < 1e-5);
      }
    }
  }
}

void check_crop(const std::string& golden, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    CAPTURE(name);
    const auto readers = open_channels(golden + "prep/src_" + name);
    const std::vector<SliceSource*> sources = sources_of(readers);
    SurveyOptions options;
    options.mask = true;
    Survey survey = survey_image(sources, options);
    const auto data = test::read_npy<float>(golden + "prep/crop_" + name + "_data.npy.gz");
    const auto seg = test::read_npy<int>(golden + "prep/crop_" + name + "_seg.npy.gz");
    const Shape size = survey.box.size();
    REQUIRE(seg.shape == std::vector<std::int64_t>{1, size[0], size[1], size[2]});
    model::Preprocessing unchanged;
    unchanged.normalization.assign(sources.size(), model::Normalization(model::NormalizationScheme::none));
    const PreprocessPlan plan(readers[0]->geometry(), survey, unchanged);
    const Preprocessed result = preprocess(plan, sources, survey, {1, 1, 1}, 2);
    CHECK(std::equal(data.values.begin(), data.values.end(), result.channel(0)));
    REQUIRE(survey.mask);
    std::size_t at = 0;
    int different = 0;
    for (std::int64_t d = 0; d < size[0]; ++d) {
      for (std::int64_t h = 0; h < size[1]; ++h) {
        for (std::int64_t w = 0; w < size[2]; ++w)
          different += seg.values[at++] != (survey.mask->get(d, h, w) ? 0 : -1);
      }
    }
    CHECK(different == 0);
  }
}

void check_export(const std::string& golden, int least_compared) {
  const json cases = read_json(golden + "prep/cases.json");
  int compared = 0;
  for (const auto& item : cases.items()) {
    const std::string& name = item.key();
    const json& info = item.value();
    if (!info.contains("inverse")) continue;
    ++compared;
    CAPTURE(name);
    const std::string source = info.at("source");
    const auto readers = open_channels(golden + "prep/src_" + source);
    const std::vector<SliceSource*> sources = sources_of(readers);
    const Geometry& geometry = readers.at(0)->geometry();
    const model::Preprocessing configuration = configuration_of(info, sources.size());
    Survey survey = survey_image(sources, PreprocessPlan::survey_options(geometry, configuration));
    const PreprocessPlan plan(geometry, survey, configuration);

    const auto softmax = test::read_npy<float>(golden + "prep/" + name + "_inv_softmax.npy.gz");
    const int classes = info.at("inverse").at("classes");
    REQUIRE(softmax.shape == std::vector<std::int64_t>{classes, plan.shape()[0], plan.shape()[1], plan.shape()[2]});
    const LabelExport exporter(plan, LabelRule{}, classes);

    const auto expected = test::read_npy<int>(golden + "prep/" + name + "_inv_label.npy.gz");
    std::vector<std::uint16_t> labels(static_cast<std::size_t>(geometry.voxels()), 77);
    export_labels(exporter, softmax.values.data(), plan.shape(), labels.data(), geometry.shape, 2);
    std::int64_t different = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) different += labels[i] != expected.values.at(i);
    CHECK(different == 0);

    // Probabilities of class 1 at the cropped size, in the file's frame.
    const auto probability = test::read_npy<float>(golden + "prep/" + name + "_inv_prob1.npy.gz");
    const Shape box = plan.box().size();
    std::vector<float> class1(static_cast<std::size_t>(geometry.voxels()));
    LabelExport::Workspace workspace(exporter);
    std::vector<std::uint16_t> plane_labels(static_cast<std::size_t>(exporter.plane_size()));
    std::vector<float> plane(static_cast<std::size_t>(exporter.plane_size() * classes));
    const std::int64_t plane_in = plan.shape()[1] * plan.shape()[2];
    for (std::int64_t p = 0; p < exporter.planes(); ++p) {
      const auto needed = exporter.needed(p);
      const float* planes[2] = {softmax.values.data() + needed.first * plane_in,
                                softmax.values.data() + (needed.first + needed.count - 1) * plane_in};
      exporter.plane(p, planes, plan.shape()[0] * plane_in, 0, workspace, plane_labels.data(), plane.data());
      exporter.place(p, plane.data() + exporter.plane_size(), class1.data());
    }
    std::vector<float> cropped;
    for (std::int64_t d = 0; d < box[0]; ++d) {
      for (std::int64_t h = 0; h < box[1]; ++h) {
        const std::int64_t at =
            ((d + plan.box().begin[0]) * geometry.shape[1] + h + plan.box().begin[1]) * geometry.shape[2] +
            plan.box().begin[2];
        cropped.insert(cropped.end(), class1.begin() + at, class1.begin() + at + box[2]);
      }
    }
    CHECK(largest_difference(cropped.data(), 1, box, probability, info.at("inverse").at("prob1_saved_every")) < 1e-5);
  }
  CHECK(compared >= least_compared);
}

}  // namespace

TEST_CASE("every golden volume is read with its voxels") {
  check_volumes(committed(),
                {"ct", "ct_thick", "ct_wide", "mr", "mr_two", "mr_ratio3", "mr_two_coarse", "mr_tall", "turned"});
}

TEST_CASE("preprocessing equals the reference in every golden case") { check_preprocessing(committed(), 20); }

TEST_CASE("the crop equals the reference's") { check_crop(committed(), {"mr", "mr_two"}); }

TEST_CASE("export equals the reference in every golden case") { check_export(committed(), 13); }

TEST_CASE("every volume of the original reads as the original reads it" * doctest::test_suite("shared")) {
  E2ENET_NEEDS_SHARED("golden/prep");
  check_volumes(shared(),
                {"ct_sm", "ct_x4", "ct_z4", "t1_144", "t1_311", "t1_y5", "t1bet2", "t1box", "t1odd", "t1two"});
}

TEST_CASE("preprocessing equals the original in every golden case" * doctest::test_suite("shared")) {
  E2ENET_NEEDS_SHARED("golden/prep");
  check_preprocessing(shared(), 21);
}

TEST_CASE("the crop equals the original's" * doctest::test_suite("shared")) {
  E2ENET_NEEDS_SHARED("golden/prep");
  check_crop(shared(), {"t1bet2", "t1two"});
}

TEST_CASE("export equals the original in every golden case" * doctest::test_suite("shared")) {
  E2ENET_NEEDS_SHARED("golden/prep");
  check_export(shared(), 11);
}

TEST_CASE("a whole case end to end: the original's network input" * doctest::test_suite("shared")) {
  E2ENET_NEEDS_SHARED("golden/e2e");
  const json meta = read_json(shared() + "e2e/meta.json");
  const auto readers = open_channels(shared() + "e2e/case");
  const std::vector<SliceSource*> sources = sources_of(readers);
  const Geometry& geometry = readers.at(0)->geometry();
  const auto expected = test::read_npy<float>(shared() + "e2e/case_preprocessed.npy.gz");
  model::Preprocessing configuration;
  configuration.spacing = meta.at("target_spacing").get<Spacing>();
  model::Normalization ct(model::NormalizationScheme::ct);  // of the plans of net_A
  ct.clip_low = -958;
  ct.clip_high = 362;
  ct.mean = 49.25;
  ct.standard_deviation = 141.5;
  configuration.normalization = {ct};
  Survey survey = survey_image(sources, PreprocessPlan::survey_options(geometry, configuration));
  for (std::size_t a = 0; a < 3; ++a) {
    CHECK(survey.box.begin[a] == meta.at("crop_bbox").at(a).at(0));
    CHECK(survey.box.end[a] == meta.at("crop_bbox").at(a).at(1));
  }
  const PreprocessPlan plan(geometry, survey, configuration);
  const Preprocessed result = preprocess(plan, sources, survey, {1, 1, 1}, 2);
  CHECK(std::vector<std::int64_t>{1, result.shape[0], result.shape[1], result.shape[2]} == expected.shape);
  CHECK(largest_difference(result.channel(0), 1, result.shape, expected, 1) < 1e-5);
}
