// Preprocessing and export on made-up volumes, against formulas.
#include <doctest/doctest.h>

#include "image/array_source.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "e2enet/error.h"
#include "image/formats/nifti/nifti_header.h"
#include "labels/label_export.h"
#include "prepare/normalization.h"
#include "prepare/preprocess.h"

using namespace e2enet;
using namespace e2enet::imaging;

namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

struct Volume {
  Geometry geometry;
  std::vector<float> voxels;

  explicit Volume(const Shape& shape, unsigned seed = 1, const Spacing& spacing = {1, 1, 1}) {
    geometry.shape = shape;
    geometry.spacing = spacing;
    geometry.affine = {spacing[2], 0, 0, 0, 0, spacing[1], 0, 0, 0, 0, spacing[0], 0, 0, 0, 0, 1};
    std::mt19937 generator(seed);
    std::uniform_real_distribution<float> uniform(1, 100);
    voxels.resize(index(geometry.voxels()));
    for (float& v : voxels) v = uniform(generator);
  }
  float& at(std::int64_t d, std::int64_t h, std::int64_t w) {
    return voxels[index((d * geometry.shape[1] + h) * geometry.shape[2] + w)];
  }
};

model::Preprocessing plain(int channels = 1) {
  model::Preprocessing configuration;
  configuration.normalization.assign(index(channels), model::Normalization(model::NormalizationScheme::none));
  return configuration;
}

struct Result {
  Survey survey;
  PreprocessPlan plan;
  Preprocessed image;
};

Result run(const std::vector<Volume>& volumes, const model::Preprocessing& configuration,
           const std::array<int, 3>& patch = {1, 1, 1}, int threads = 2) {
  std::vector<ArraySource> memory;
  for (const Volume& volume : volumes) memory.emplace_back(volume.voxels.data(), volume.geometry.shape);
  std::vector<SliceSource*> sources;
  for (ArraySource& source : memory) sources.push_back(&source);
  const Geometry& geometry = volumes[0].geometry;
  Survey survey = survey_image(sources, PreprocessPlan::survey_options(geometry, configuration));
  PreprocessPlan plan(geometry, survey, configuration);
  Preprocessed image = preprocess(plan, sources, survey, patch, threads);
  return {std::move(survey), std::move(plan), std::move(image)};
}

std::vector<float> values_of(const Preprocessed& image, int channel = 0) {
  const Shape& s = image.padding.padded_shape;
  return {image.channel(channel), image.channel(channel) + s[0] * s[1] * s[2]};
}

// The same image with its axes in another order and direction: every way that a scanner could have stored it.
Volume reoriented(Volume& volume, const std::array<int, 3>& order, const std::array<bool, 3>& flip) {
  const Geometry& from = volume.geometry;
  Shape shape;
  Spacing spacing;
  for (std::size_t a = 0; a < 3; ++a) {
    shape[a] = from.shape[index(order[a])];
    spacing[a] = from.spacing[index(order[a])];
  }
  Volume result(shape, 1, spacing);
  for (std::int64_t d = 0; d < shape[0]; ++d) {
    for (std::int64_t h = 0; h < shape[1]; ++h) {
      for (std::int64_t w = 0; w < shape[2]; ++w) {
        const std::int64_t at[3] = {d, h, w};
        std::int64_t there[3] = {0, 0, 0};
        for (std::size_t a = 0; a < 3; ++a) there[order[a]] = flip[a] ? shape[a] - 1 - at[a] : at[a];
        result.at(d, h, w) = volume.at(there[0], there[1], there[2]);
      }
    }
  }
  // Column i, j, k of the affine belongs to axis 2, 1, 0.
  for (std::size_t row = 0; row < 3; ++row) {
    double origin = from.affine[4 * row + 3];
    for (std::size_t a = 0; a < 3; ++a) {
      const double column = from.affine[4 * row + 2 - index(order[a])];
      result.geometry.affine[4 * row + 2 - a] = flip[a] ? -column : column;
      if (flip[a]) origin += column * static_cast<double>(shape[a] - 1);
    }
    result.geometry.affine[4 * row + 3] = origin;
  }
  return result;
}

std::vector<std::array<int, 3>> orders() { return {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}; }

}  // namespace

TEST_CASE("the crop is the box around nonzero voxels of any channel; NaN counts, then becomes zero") {
  std::vector<Volume> volumes(2, Volume({6, 7, 8}));
  for (Volume& volume : volumes) std::fill(volume.voxels.begin(), volume.voxels.end(), 0.0f);
  volumes[0].at(2, 3, 4) = -5;
  volumes[1].at(4, 1, 6) = std::nanf("");
  const Result result = run(volumes, plain(2));
  CHECK(result.survey.box.begin == Shape{2, 1, 4});
  CHECK(result.survey.box.end == Shape{5, 4, 7});
  CHECK(result.image.shape == Shape{3, 3, 3});
  CHECK(result.image.channel(0)[(0 * 3 + 2) * 3 + 0] == -5);
  for (const float v : values_of(result.image, 1)) CHECK(v == 0);
}

TEST_CASE("an image without a nonzero voxel is found empty") {
  Volume volume({3, 4, 5});
  std::fill(volume.voxels.begin(), volume.voxels.end(), 0.0f);
  ArraySource source(volume.voxels.data(), volume.geometry.shape);
  CHECK(survey_image({&source}, {}).empty());
}

TEST_CASE("infinite voxels are refused with the channel, the first and their number, of the region only") {
  Volume good({3, 4, 5}), volume({3, 4, 5});
  volume.at(1, 2, 3) = -HUGE_VALF;
  CHECK_THROWS_AS(run({volume}, plain()), Error);
  volume.at(2, 0, 1) = HUGE_VALF;
  ArraySource first(good.voxels.data(), good.geometry.shape), second(volume.voxels.data(), volume.geometry.shape);
  const auto message = [&](const SurveyOptions& options) -> std::string {
    try {
      survey_image({&first, &second}, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  CHECK(message({}).find(
            "channel 1: voxels: expected finite values (of float32), found 2 infinite, the first at (i, j, k) = "
            "(3, 2, 1)") == 0);
  SurveyOptions region;
  region.region = Box{{2, 0, 0}, {3, 4, 5}};
  CHECK(message(region).find("found 1 infinite, the first at (i, j, k) = (1, 0, 2)") != std::string::npos);
  region.region = Box{{0, 0, 0}, {1, 4, 5}};
  CHECK(message(region) == "");
}

TEST_CASE("channels of different shapes are refused") {
  Volume a({3, 4, 5}), b({3, 5, 4});
  ArraySource first(a.voxels.data(), a.geometry.shape), second(b.voxels.data(), b.geometry.shape);
  CHECK_THROWS_AS(survey_image({&first, &second}, {}), Error);
}

TEST_CASE("the survey's ranges are those of the cropped planes") {
  std::mt19937 generator(3);
  Volume volume({5, 6, 40});
  for (float& v : volume.voxels) {
    const unsigned kind = generator() % 20;
    v = kind == 0 ? 0.0f : kind == 1 ? std::nanf("") : static_cast<float>(generator() % 1000) - (kind < 5 ? 900 : 0);
  }
  for (std::int64_t h = 0; h < 6; ++h) {
    for (std::int64_t w = 0; w < 40; ++w) volume.at(0, h, w) = 0;
  }
  for (std::int64_t d = 0; d < 5; ++d) {
    for (std::int64_t w = 0; w < 40; ++w) volume.at(d, 5, w) = 0;
    for (std::int64_t h = 0; h < 6; ++h) volume.at(d, h, 0) = volume.at(d, h, 39) = 0;
  }
  ArraySource source(volume.voxels.data(), volume.geometry.shape);
  SurveyOptions options;
  options.planes_across_width = true;
  options.region = Box{{0, 0, 2}, {5, 6, 40}};
  for (const int threads : {1, 3}) {
    options.threads = threads;
    const Survey survey = survey_image({&source}, options);
    const Box& box = survey.box;
    CHECK(box.begin == Shape{1, 0, 2});
    CHECK(box.end == Shape{5, 5, 39});
    for (std::size_t axis = 0; axis < 3; ++axis) {
      for (std::int64_t plane = 0; plane < box.size()[axis]; ++plane) {
        float low = HUGE_VALF, high = -HUGE_VALF;
        for (std::int64_t d = box.begin[0]; d < box.end[0]; ++d) {
          for (std::int64_t h = box.begin[1]; h < box.end[1]; ++h) {
            for (std::int64_t w = box.begin[2]; w < box.end[2]; ++w) {
              if (std::array{d, h, w}[axis] != box.begin[axis] + plane) continue;
              const float v = std::isnan(volume.at(d, h, w)) ? 0.0f : volume.at(d, h, w);
              low = std::min(low, v);
              high = std::max(high, v);
            }
          }
        }
        CAPTURE(axis);
        CAPTURE(plane);
        CHECK(survey.channels[0].low[axis].at(index(plane)) == low);
        CHECK(survey.channels[0].high[axis].at(index(plane)) == high);
      }
    }
  }
}

TEST_CASE("a region of interest must lie in the image") {
  Volume volume({3, 4, 5});
  ArraySource source(volume.voxels.data(), volume.geometry.shape);
  SurveyOptions options;
  for (const Box& region : {Box{{0, 0, 0}, {4, 4, 5}}, Box{{0, -1, 0}, {3, 4, 5}}, Box{{1, 1, 2}, {2, 2, 2}}}) {
    options.region = region;
    CHECK_THROWS_AS(survey_image({&source}, options), Error);
  }
  options.region = Box{{1, 1, 2}, {2, 3, 4}};
  const Survey survey = survey_image({&source}, options);
  CHECK(survey.box.begin == Shape{1, 1, 2});
  CHECK(survey.box.end == Shape{2, 3, 4});
}

TEST_CASE("slices are separate above a ratio of 3, by the original spacing first") {
  CHECK(separate_axis({1, 1, 1}, {1, 1, 1}) == -1);
  CHECK(separate_axis({3, 1, 1}, {1, 1, 1}) == -1);
  CHECK(separate_axis({3.01, 1, 1}, {1, 1, 9}) == 0);
  CHECK(separate_axis({1, 1, 1}, {1, 4, 1}) == 1);
  CHECK(separate_axis({1, 4, 4}, {1, 1, 1}) == -1);
  CHECK(separate_axis({1, 4, 4}, {1, 1, 5}) == -1);
  CHECK(separate_axis({1, 1, 1}, {1, 4, 4}) == -1);
}

TEST_CASE("every normalisation follows its formula") {
  std::vector<Volume> volumes(1, Volume({9, 10, 11}, 5));
  Volume& volume = volumes[0];
  for (std::int64_t d = 0; d < 9; ++d) {
    for (std::int64_t h = 0; h < 10; ++h) {
      for (std::int64_t w = 0; w < 4; ++w) volume.at(d, h, w) = (d + h) % 2 && w > 0 ? 50.0f : 0.0f;
    }
  }
  volume.at(4, 5, 8) = 0;  // a hole: inside all the same
  const Result raw = run(volumes, plain());
  const std::vector<float> x = values_of(raw.image);
  SurveyOptions options;
  options.mask = true;
  ArraySource source(volume.voxels.data(), volume.geometry.shape);
  const Survey survey = survey_image({&source}, options);
  const Shape s = survey.box.size();
  std::vector<bool> inside;
  for (std::int64_t d = 0; d < s[0]; ++d) {
    for (std::int64_t h = 0; h < s[1]; ++h) {
      for (std::int64_t w = 0; w < s[2]; ++w) inside.push_back(survey.mask->get(d, h, w));
    }
  }
  REQUIRE(inside.size() == x.size());
  CHECK(std::count(inside.begin(), inside.end(), false) > 50);

  for (const auto scheme : {model::NormalizationScheme::ct, model::NormalizationScheme::ct2,
                            model::NormalizationScheme::non_ct, model::NormalizationScheme::none}) {
    for (const bool use_mask : {false, true}) {
      CAPTURE(static_cast<int>(scheme));
      CAPTURE(use_mask);
      model::Preprocessing configuration = plain();
      model::Normalization& n = configuration.normalization[0];
      n.scheme = scheme;
      n.use_mask = use_mask;
      n.clip_low = 20;
      n.clip_high = 80;
      n.mean = 44;
      n.standard_deviation = 7;
      const Result result = run(volumes, configuration);
      const std::vector<float> y = values_of(result.image);
      double mean = 0, squares = 0, count = 0;
      const auto counts = [&](std::size_t i) {
        if (scheme == model::NormalizationScheme::ct2) return x[i] > 20 && x[i] < 80;
        return !use_mask || inside[i];
      };
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (counts(i)) {
          mean += x[i];
          ++count;
        }
      }
      mean /= count;
      for (std::size_t i = 0; i < x.size(); ++i) squares += counts(i) ? (x[i] - mean) * (x[i] - mean) : 0;
      const double sd = std::sqrt(squares / count);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double clipped = std::clamp<double>(x[i], 20, 80);
        double expected = scheme == model::NormalizationScheme::ct       ? (clipped - 44) / 7
                          : scheme == model::NormalizationScheme::ct2    ? (clipped - mean) / sd
                          : scheme == model::NormalizationScheme::non_ct ? (x[i] - mean) / (sd + 1e-8)
                                                                         : x[i];
        if (use_mask && !inside[i] && scheme != model::NormalizationScheme::none) expected = 0;
        REQUIRE(y[i] == doctest::Approx(expected).epsilon(1e-6));
      }
    }
  }
}

TEST_CASE("a constant image does not divide by zero, and CT2 without spread is refused") {
  std::vector<Volume> volumes(1, Volume({3, 4, 5}));
  std::fill(volumes[0].voxels.begin(), volumes[0].voxels.end(), 7.0f);
  model::Preprocessing configuration = plain();
  configuration.normalization[0].scheme = model::NormalizationScheme::non_ct;
  for (const float v : values_of(run(volumes, configuration).image)) CHECK(v == 0);
  configuration.normalization[0].scheme = model::NormalizationScheme::ct2;
  configuration.normalization[0].clip_high = 100;
  CHECK_THROWS_AS(run(volumes, configuration), Error);
  configuration.normalization[0].clip_high = 5;
  CHECK_THROWS_AS(run(volumes, configuration), Error);
}

TEST_CASE("statistics hold where the mean dwarfs the spread") {
  std::vector<Volume> volumes(1, Volume({20, 30, 40}, 8));
  double mean = 0;
  for (float& v : volumes[0].voxels) {
    v = 100000 + v / 100;
    mean += v;
  }
  mean /= static_cast<double>(volumes[0].voxels.size());
  double squares = 0;
  for (const float v : volumes[0].voxels) squares += (v - mean) * (v - mean);
  model::Preprocessing configuration = plain();
  configuration.normalization[0].scheme = model::NormalizationScheme::non_ct;
  const std::vector<float> y = values_of(run(volumes, configuration).image);
  const double sd = std::sqrt(squares / static_cast<double>(y.size()));
  for (std::size_t i = 0; i < y.size(); i += 97)
    CHECK(y[i] == doctest::Approx((volumes[0].voxels[i] - mean) / sd).epsilon(1e-4));
}

TEST_CASE("new sizes round half to even and never vanish; absurd ones are refused") {
  Volume volume({5, 7, 1}, 1, {1, 1, 0.5});
  model::Preprocessing configuration = plain();
  configuration.spacing = Spacing{2, 2, 2};
  CHECK(run({volume}, configuration).image.shape == Shape{2, 4, 1});  // 2.5, 3.5, 0.25
  configuration.spacing = Spacing{1e-9, 1, 1};
  CHECK_THROWS_AS(run({volume}, configuration), Error);
  configuration.spacing = Spacing{0, 1, 1};
  CHECK_THROWS_AS(run({volume}, configuration), Error);
  configuration.spacing = Spacing{1, std::nan(""), 1};
  CHECK_THROWS_AS(run({volume}, configuration), Error);
}

TEST_CASE("padding is split with the smaller half before, and is zero after normalisation") {
  const Volume volume({4, 5, 6});
  model::Preprocessing configuration = plain();
  configuration.normalization[0].scheme = model::NormalizationScheme::non_ct;
  const Result bare = run({volume}, configuration);
  const Result padded = run({volume}, configuration, {7, 5, 9});
  CHECK(padded.image.padding.padded_shape == Shape{7, 5, 9});
  CHECK(padded.image.padding.before == Shape{1, 0, 1});
  for (std::int64_t d = 0; d < 7; ++d) {
    for (std::int64_t h = 0; h < 5; ++h) {
      for (std::int64_t w = 0; w < 9; ++w) {
        const bool there = d >= 1 && d < 5 && w >= 1 && w < 7;
        const float expected = there ? bare.image.channel(0)[((d - 1) * 5 + h) * 6 + w - 1] : 0.0f;
        CHECK(padded.image.channel(0)[(d * 5 + h) * 9 + w] == expected);
      }
    }
  }
}

TEST_CASE("threads do not change a bit") {
  std::vector<Volume> volumes(2, Volume({31, 22, 40}, 11, {1.3, 0.9, 0.8}));
  for (std::int64_t i = 0; i < 9000; ++i) volumes[0].voxels[index(i)] = volumes[1].voxels[index(i)] = 0;
  model::Preprocessing configuration = plain(2);
  configuration.spacing = Spacing{1, 1.1, 1};
  configuration.transpose_forward = {1, 2, 0};
  configuration.normalization[0].scheme = model::NormalizationScheme::non_ct;
  configuration.normalization[0].use_mask = true;
  configuration.normalization[1].scheme = model::NormalizationScheme::ct2;
  configuration.normalization[1].clip_high = 80;
  const Result one = run(volumes, configuration, {50, 1, 1}, 1);
  for (const int threads : {2, 3, 8}) {
    const Result many = run(volumes, configuration, {50, 1, 1}, threads);
    REQUIRE(one.image.voxels.size() == many.image.voxels.size());
    CHECK(std::memcmp(one.image.voxels.data(), many.image.voxels.data(), one.image.voxels.size()) == 0);
  }
}

TEST_CASE("the letters of an orientation are the directions of i, j, k") {
  CHECK(orientation_code({1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}) == "RAS");
  CHECK(orientation_code({-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}) == "LPS");
  CHECK(orientation_code({0, 0, 2, 0, -3, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0, 1}) == "PIR");
  // Oblique by 40 degrees about z.
  const double c = std::cos(0.7), s = std::sin(0.7);
  CHECK(orientation_code({c, -s, 0, 0, s, c, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}) == "RAS");
}

TEST_CASE("an orientation that is none is refused") {
  const Volume volume({3, 4, 5});
  for (const std::string code : {"RA", "RASX", "RAA", "RRS", "ras", "RLS", "XYZ"}) {
    CAPTURE(code);
    model::Preprocessing configuration = plain();
    configuration.orientation = code;
    CHECK_THROWS_AS(run({volume}, configuration), Error);
  }
}

TEST_CASE("a volume stored in any of the 48 ways is seen alike, and its labels go back to where they belong") {
  Volume original({9, 12, 7}, 21, {2.5, 1.2, 0.9});
  for (std::int64_t h = 0; h < 12; ++h) {
    for (std::int64_t w = 0; w < 7; ++w) original.at(0, h, w) = 0;
  }
  for (const auto& transpose : orders()) {
    for (const bool resampled : {false, true}) {
      model::Preprocessing configuration = plain();
      configuration.orientation = "RAS";
      configuration.transpose_forward = transpose;
      if (resampled) configuration.spacing = Spacing{1.4, 1.6, 1.1};
      const Result expected = run({original}, configuration);
      std::vector<float> probabilities(
          2 * index(expected.plan.shape()[0] * expected.plan.shape()[1] * expected.plan.shape()[2]));
      const std::size_t half = probabilities.size() / 2;
      for (std::size_t i = 0; i < half; ++i) {
        probabilities[i] = expected.image.channel(0)[i] < 50 ? 0.75f : 0.25f;
        probabilities[half + i] = 1 - probabilities[i];
      }
      std::vector<std::uint16_t> labels(original.voxels.size());
      export_labels(LabelExport(expected.plan, {}, 2), probabilities.data(), expected.plan.shape(), labels.data(),
                    original.geometry.shape, 2);
      if (!resampled) {
        for (std::size_t i = 0; i < labels.size(); ++i) CHECK(labels[i] == (original.voxels[i] >= 50));
      }
      for (const auto& order : orders()) {
        for (int flips = 0; flips < 8; ++flips) {
          Volume stored = reoriented(original, order, {(flips & 1) != 0, (flips & 2) != 0, (flips & 4) != 0});
          CAPTURE(order[0]);
          CAPTURE(order[1]);
          CAPTURE(flips);
          const Result found = run({stored}, configuration);
          REQUIRE(found.image.shape == expected.image.shape);
          const std::vector<float> a = values_of(found.image), b = values_of(expected.image);
          for (std::size_t i = 0; i < a.size(); ++i) REQUIRE(a[i] == doctest::Approx(b[i]).epsilon(1e-5));
          std::vector<std::uint16_t> back(labels.size(), 9);
          export_labels(LabelExport(found.plan, {}, 2), probabilities.data(), found.plan.shape(), back.data(),
                        stored.geometry.shape, 2);
          Volume as_volume(original.geometry.shape, 1, original.geometry.spacing);
          for (std::size_t i = 0; i < labels.size(); ++i) as_volume.voxels[i] = labels[i];
          const Volume turned = reoriented(as_volume, order, {(flips & 1) != 0, (flips & 2) != 0, (flips & 4) != 0});
          std::size_t different = 0;
          for (std::size_t i = 0; i < back.size(); ++i) different += back[i] != turned.voxels[i];
          CHECK(different == 0);
        }
      }
    }
  }
}

TEST_CASE("of equal probabilities the first class wins; regions overwrite in their order above one half") {
  const Volume volume({2, 3, 4});
  const Result result = run({volume}, plain());
  const std::size_t voxels = 24;
  std::vector<float> probabilities(3 * voxels, 0.25f);
  for (std::size_t i = 0; i < voxels; ++i) {
    probabilities[voxels + i] = i % 2 ? 0.25f : 0.75f;
    probabilities[2 * voxels + i] = i % 3 ? 0.75f : 0.5f;
  }
  std::vector<std::uint16_t> labels(voxels);
  export_labels(LabelExport(result.plan, {}, 3), probabilities.data(), result.plan.shape(), labels.data(), {2, 3, 4},
                1);
  for (std::size_t i = 0; i < voxels; ++i) {
    const int expected = i % 2 == 0 ? 1 : 2;  // 0.75 comes first, or stands against 0.25
    CHECK(labels[i] == expected);
  }
  for (float& p : probabilities) p = 0.25f;
  export_labels(LabelExport(result.plan, {}, 3), probabilities.data(), result.plan.shape(), labels.data(), {2, 3, 4},
                1);
  CHECK(std::count(labels.begin(), labels.end(), 0) == 24);

  for (std::size_t i = 0; i < voxels; ++i) {
    probabilities[i] = i % 2 ? 0.9f : 0.1f;
    probabilities[voxels + i] = i % 3 ? 0.5f : 0.6f;
    probabilities[2 * voxels + i] = i % 5 ? 0.0f : 1.0f;
  }
  LabelRule rule;
  rule.regions = true;
  rule.region_order = {1, 300, 2};
  CHECK(rule.largest_label(3) == 300);
  export_labels(LabelExport(result.plan, rule, 3), probabilities.data(), result.plan.shape(), labels.data(), {2, 3, 4},
                2);
  for (std::size_t i = 0; i < voxels; ++i) {
    CHECK(labels[i] == (i % 5 == 0 ? 2 : i % 3 == 0 ? 300 : i % 2 ? 1 : 0));
  }
  rule.region_order = {1, 2};
  CHECK_THROWS_AS(LabelExport(result.plan, rule, 3), Error);
}

TEST_CASE("exported planes follow the formula of linear interpolation, in any order") {
  const Volume volume({7, 9, 8}, 2, {1, 1, 1});
  model::Preprocessing configuration = plain();
  configuration.spacing = Spacing{1.7, 0.6, 1.3};
  const Result result = run({volume}, configuration);
  const Shape in = result.plan.shape(), out = result.plan.cropped_shape();
  std::mt19937 generator(4);
  std::uniform_real_distribution<float> uniform(0, 1);
  std::vector<float> probabilities(index(3 * in[0] * in[1] * in[2]));
  for (float& p : probabilities) p = uniform(generator);
  const LabelExport exporter(result.plan, {}, 3);
  CHECK(exporter.planes() == out[0]);
  LabelExport::Workspace workspace(exporter);
  std::vector<std::uint16_t> labels(index(exporter.plane_size()));
  std::vector<float> resampled(3 * labels.size());
  const auto along = result.plan.export_operators();
  for (std::int64_t p = exporter.planes() - 1; p >= 0; --p) {
    const auto needed = exporter.needed(p);
    const float* planes[2] = {probabilities.data() + needed.first * in[1] * in[2],
                              probabilities.data() + (needed.first + needed.count - 1) * in[1] * in[2]};
    exporter.plane(p, planes, in[0] * in[1] * in[2], 0, workspace, labels.data(), resampled.data());
    for (std::int64_t h = 0; h < out[1]; ++h) {
      for (std::int64_t w = 0; w < out[2]; ++w) {
        int best = 0;
        float highest = -1;
        for (int c = 0; c < 3; ++c) {
          double sum = 0;
          for (std::int64_t i = 0; i < along[0].taps; ++i) {
            for (std::int64_t j = 0; j < along[1].taps; ++j) {
              for (std::int64_t k = 0; k < along[2].taps; ++k) {
                const std::int64_t z = along[0].first[index(p)] + i, y = along[1].first[index(h)] + j,
                                   x = along[2].first[index(w)] + k;
                sum += along[0].row(p)[i] * along[1].row(h)[j] * along[2].row(w)[k] *
                       static_cast<double>(probabilities[index(((c * in[0] + z) * in[1] + y) * in[2] + x)]);
              }
            }
          }
          const float found = resampled[index((c * out[1] + h) * out[2] + w)];
          CHECK(found == doctest::Approx(sum).epsilon(1e-6));
          if (found > highest) {
            highest = found;
            best = c;
          }
        }
        CHECK(labels[index(h * out[2] + w)] == best);
      }
    }
  }
}

TEST_CASE("a header made for a geometry says the same place") {
  Volume volume({3, 4, 5}, 1, {2, 1.5, 0.75});
  volume.geometry.affine = {-0.75, 0, 0, 10, 0, 1.5, 0, 20, 0, 0, 2, 30, 0, 0, 0, 1};
  const NiftiHeader header = NiftiHeader::from_geometry(volume.geometry);
  CHECK(header.geometry().affine == volume.geometry.affine);
  CHECK(header.geometry().spacing == volume.geometry.spacing);
}
