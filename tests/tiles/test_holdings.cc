// However much of a volume is held, the labels and probabilities are those of the original's way: all probabilities of
// the whole volume at the image's resolution, then the largest of each voxel.
#include <doctest/doctest.h>

#include "image/array_source.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "e2enet/error.h"
#include "labels/components.h"
#include "model/model_file.h"
#include "model/random_model.h"
#include "support/nifti_images.h"
#include "support/sanitizers.h"
#include "support/temporary_folder.h"
#include "tiles/volume_extent.h"
#include "tiles/volume_plan.h"
#include "tiles/volumes.h"

namespace {

using namespace e2enet;
using test::KeepLabels;
using test::KeepProbabilities;
using test::synthetic_image;
using tiles::Holding;

// Where sample j of an axis of `out` samples lies in one of `in`.
struct Sample {
  Sample(std::int64_t in, std::int64_t out, std::int64_t j, bool nearest) {
    double x = (double(j) + 0.5) * (double(in) / double(out)) - 0.5;
    x = std::min(std::max(x, 0.0), double(in - 1));
    if (nearest) x = std::floor(x + 0.5);
    first = std::int64_t(std::floor(x));
    second = std::min(first + 1, in - 1);
    weight_of_second = x - double(first);
    if (in == out) *this = Sample(j);
  }
  explicit Sample(std::int64_t j) : first(j), second(j), weight_of_second(0) {}
  std::int64_t first, second;
  double weight_of_second;
};

struct Reference {
  std::vector<float> probabilities;  // (classes, D, H, W) of the image
  std::vector<std::uint16_t> labels;
};

// `values` is (classes, plan.shape()). Everything is held as a whole, and nothing of LabelExport is used.
Reference as_the_original(const imaging::PreprocessPlan& plan, const std::vector<float>& values, int classes,
                          const imaging::LabelRule& rule, bool nearest_along_depth) {
  const Shape in = plan.shape(), out = plan.cropped_shape(), image = plan.geometry().shape;
  const std::int64_t voxels = image[0] * image[1] * image[2];
  Reference result;
  result.probabilities.assign(std::size_t(classes * voxels), 0.0f);
  if (!rule.regions) std::fill_n(result.probabilities.begin(), voxels, 1.0f);
  for (int c = 0; c < classes; ++c) {
    const float* of_class = values.data() + c * in[0] * in[1] * in[2];
    for (std::int64_t d = 0; d < out[0]; ++d) {
      const Sample z(in[0], out[0], d, nearest_along_depth);
      for (std::int64_t h = 0; h < out[1]; ++h) {
        const Sample y(in[1], out[1], h, false);
        for (std::int64_t w = 0; w < out[2]; ++w) {
          const Sample x(in[2], out[2], w, false);
          const auto at = [&](std::int64_t zi, std::int64_t yi, std::int64_t xi) {
            return double(of_class[(zi * in[1] + yi) * in[2] + xi]);
          };
          const auto column = [&](std::int64_t xi) {
            const double z1 = z.weight_of_second, y1 = y.weight_of_second;
            return (at(z.first, y.first, xi) * (1 - z1) + at(z.second, y.first, xi) * z1) * (1 - y1) +
                   (at(z.first, y.second, xi) * (1 - z1) + at(z.second, y.second, xi) * z1) * y1;
          };
          const double value = column(x.first) * (1 - x.weight_of_second) + column(x.second) * x.weight_of_second;
          // Back to the file's axes.
          const std::int64_t network[3] = {d, h, w};
          std::int64_t file[3];
          for (std::size_t a = 0; a < 3; ++a) {
            const auto f = std::size_t(plan.frame().source[a]);
            file[f] = plan.frame().flip[a] ? plan.box().end[f] - 1 - network[a] : plan.box().begin[f] + network[a];
          }
          result.probabilities[std::size_t(c * voxels + (file[0] * image[1] + file[1]) * image[2] + file[2])] =
              float(value);
        }
      }
    }
  }
  result.labels.assign(std::size_t(voxels), 0);
  for (std::int64_t i = 0; i < voxels; ++i) {
    const auto probability = [&](int c) { return result.probabilities[std::size_t(c * voxels + i)]; };
    int best = 0;
    for (int c = 0; c < classes; ++c) {
      if (rule.regions && probability(c) > 0.5f) {
        result.labels[std::size_t(i)] = std::uint16_t(rule.region_order[std::size_t(c)]);
      }
      if (!rule.regions && probability(c) > probability(best)) result.labels[std::size_t(i)] = std::uint16_t(best = c);
    }
  }
  return result;
}

struct Setting {
  const char* name;
  const char* model;  // follows the architecture
  Spacing spacing;    // of the image
  bool nearest_along_depth = false;
  bool region = false;
  bool window_possible = true;
  std::vector<int> largest_component = {};
};

const Setting kSettings[] = {
    {"CT and another, whole",
     R"("preprocessing":{"spacing":[2.5,1.2,1.4],"normalization":[{"scheme":"CT","clip":[5,120],"mean":60,"sd":30},)"
     R"({"scheme":"noNorm"}]})",
     {2.0, 1.0, 1.5}},
    {"statistics of the image, over the mask",
     R"("preprocessing":{"spacing":[2.5,1.2,1.4],"normalization":[{"scheme":"nonCT","use_mask":true},)"
     R"({"scheme":"CT2","clip":[20,150],"use_mask":false}]})",
     {2.0, 1.0, 1.5}},
    {"a box, and only the largest pieces",
     R"("preprocessing":{"spacing":[1.5,1.2,1.4],"normalization":[{"scheme":"nonCT","use_mask":true},{"scheme":"nonCT"}]})",
     {2.0, 1.0, 1.5},
     false,
     true,
     true,
     {1, 2, 3}},
    {"thick slices, resampled on their own",
     R"("preprocessing":{"spacing":[5,1.2,1.4],"normalization":[{"scheme":"nonCT"},{"scheme":"nonCT","use_mask":true}]})",
     {4.0, 1.0, 1.25},
     true},
    {"no resampling at all",
     R"("preprocessing":{"normalization":[{"scheme":"nonCT"},{"scheme":"nonCT"}]})",
     {2.0, 1.0, 1.5}},
    {"axes in another order",
     R"("preprocessing":{"spacing":[1.4,2.5,1.2],"transpose_forward":[2,0,1],"normalization":[{"scheme":"nonCT"},)"
     R"({"scheme":"nonCT","use_mask":true}]})",
     {2.0, 1.0, 1.5},
     false,
     true,
     false},
    {"slices mirrored, in the file's order",
     R"("preprocessing":{"spacing":[2.5,1.2,1.4],"orientation":"RAS","normalization":[{"scheme":"nonCT"},)"
     R"({"scheme":"nonCT","use_mask":true}]})",
     {2.0, 1.0, 1.5}},
    {"slices from the last to the first",
     R"("preprocessing":{"spacing":[2.5,1.2,1.4],"orientation":"RAI","normalization":[{"scheme":"nonCT"},)"
     R"({"scheme":"nonCT"}]})",
     {2.0, 1.0, 1.5},
     false,
     false,
     false},
    {"regions",
     R"("output":"sigmoid","region_order":[3,1,2,7],"preprocessing":{"spacing":[2.5,1.2,1.4],"transpose_forward":[0,2,1],)"
     R"("normalization":[{"scheme":"nonCT","use_mask":true},{"scheme":"nonCT"}]})",
     {2.0, 1.5, 1.0}},
};

}  // namespace

TEST_CASE("labels and probabilities are the original's, however much is held, read ahead or not, on any threads") {
  const test::TemporaryFolder folder;
  const std::string architecture =
      R"({"input_channels":2,"classes":4,"base_features":4,"pool_strides":[[1,2,2],[2,2,2]],"patch_size":[8,16,12],)"
      R"("density":0.5,)";
  int number = 0;
  for (const Setting& setting : kSettings) {
    // A third of the settings is enough where they take long: threads share the same things in all of them.
    if (test::runs_slowly() && number++ % 3 != 1) continue;
    CAPTURE(std::string(setting.name));
    model::write_random_model(architecture + setting.model + "}", "test", 5, folder.file("model.safetensors"));
    const auto network = model::load_model_file(folder.file("model.safetensors"));
    Geometry geometry;
    geometry.shape = {25, 29, 27};
    geometry.spacing = setting.spacing;
    geometry.affine = {
        -setting.spacing[2], 0, 0, 3, 0, setting.spacing[1], 0, -4, 0, 0, setting.spacing[0], 5, 0, 0, 0, 1};
    const auto header = imaging::NiftiHeader::from_geometry(geometry);
    imaging::write_volumes(folder.file("a.nii.gz"), header, synthetic_image(geometry.shape, 7).data(), 1);
    imaging::write_volumes(folder.file("b.nii.gz"), header, synthetic_image(geometry.shape, 8).data(), 1);
    imaging::ImageReader a(folder.file("a.nii.gz")), b(folder.file("b.nii.gz"));
    const std::vector<imaging::SliceSource*> channels{&a, &b};

    tiles::PipelineOptions options;
    options.probabilities = true;
    options.largest_component = setting.largest_component;
    if (setting.region) options.region = Box{{2, 0, 4}, {23, 25, 26}};

    Reference expected;
    {
      engine::Engine engine(*network, {});
      const model::Preprocessing& preprocessing = network->configuration().preprocessing;
      imaging::SurveyOptions survey_options = imaging::PreprocessPlan::survey_options(a.geometry(), preprocessing);
      survey_options.region = options.region;
      imaging::Survey survey = imaging::survey_image(channels, survey_options);
      const imaging::PreprocessPlan plan(a.geometry(), survey, preprocessing);
      const imaging::Preprocessed input = imaging::preprocess(plan, channels, survey, {1, 1, 1}, 1);
      tiles::SlidingWindow window(engine, {}, tiles::volume_extent(plan.shape()));
      KeepProbabilities all(4, plan.shape());
      window.run(input.channel(0), all);
      expected = as_the_original(plan, all.values, 4, tiles::label_rule(network->configuration()),
                                 setting.nearest_along_depth);
      imaging::keep_largest_components(expected.labels.data(), geometry.shape, setting.largest_component);
      CHECK(*std::max_element(expected.labels.begin(), expected.labels.end()) > 1);
      REQUIRE(imaging::PreparedWindow::possible(plan.frame()) == setting.window_possible);
    }

    for (const int threads : {1, 2, 4}) {
      if (test::runs_slowly() && threads != 2) continue;
      plan::PlanOptions plan_options;
      plan_options.threads = threads;
      engine::Engine engine(*network, plan_options);
      for (const Holding holding :
           {Holding::image, Holding::image_while_preparing, Holding::prepared, Holding::window}) {
        if (holding == Holding::window && !setting.window_possible) continue;
        CAPTURE(threads);
        CAPTURE(std::string(tiles::holding_name(holding)));
        options.threads = threads;
        options.holding = holding;
        options.read_ahead = threads > 1;
        options.tiling.side_by_side = threads / 2;  // with four threads, two runs with two each
        KeepLabels keep(geometry.shape);
        const auto result = tiles::segment_volume(engine, a.geometry(), channels, options, keep, {});
        CHECK(keep.labels == expected.labels);
        REQUIRE(result.probabilities.size() == expected.probabilities.size());
        CHECK(std::memcmp(result.probabilities.data(), expected.probabilities.data(),
                          expected.probabilities.size() * sizeof(float)) == 0);
        for (imaging::SliceSource* channel : channels) channel->forget();
      }
    }
  }
}

TEST_CASE("a window across the file's slices is refused") {
  const test::TemporaryFolder folder;
  model::write_random_model(
      R"({"input_channels":1,"classes":2,"base_features":4,"pool_strides":[[1,2,2],[2,2,2]],"patch_size":[8,16,12],)"
      R"("preprocessing":{"transpose_forward":[2,0,1]}})",
      "test", 5, folder.file("model.safetensors"));
  engine::Engine engine(*model::load_model_file(folder.file("model.safetensors")), {});
  Geometry geometry;
  geometry.shape = {20, 20, 20};
  const std::vector<float> image = synthetic_image(geometry.shape);
  imaging::ArraySource source(image.data(), geometry.shape);
  tiles::PipelineOptions options;
  options.holding = Holding::window;
  KeepLabels keep(geometry.shape);
  CHECK_THROWS_AS(tiles::segment_volume(engine, geometry, {&source}, options, keep, {}), Error);
  for (const auto& one :
       tiles::possible_holdings(engine.plan(), engine.network().configuration(), 0, geometry, options, {})) {
    CHECK(one.holding != Holding::window);
  }
}

TEST_CASE("runs go on at once where the limit has room, each with two threads or, of a small network, one") {
  const test::TemporaryFolder folder;
  Geometry geometry;
  geometry.shape = {100, 300, 300};
  struct Case {
    const char* architecture;
    int threads, at_once;
  };
  for (const Case& one :
       {Case{R"("base_features":4,"pool_strides":[[1,2,2],[2,2,2]],"patch_size":[8,16,12])", 4, 4},
        Case{R"("base_features":4,"pool_strides":[[1,2,2],[2,2,2]],"patch_size":[8,16,12])", 1, 1},
        Case{R"("base_features":48,"pool_strides":[[2,2,2],[2,2,2]],"patch_size":[64,96,96])", 4, 2},
        Case{R"("base_features":48,"pool_strides":[[2,2,2],[2,2,2]],"patch_size":[64,96,96])", 2, 1}}) {
    CAPTURE(std::string(one.architecture));
    CAPTURE(one.threads);
    model::write_random_model(std::string(R"({"input_channels":1,"classes":2,)") + one.architecture + "}", "test", 5,
                              folder.file("model.safetensors"));
    plan::PlanOptions plan_options;
    plan_options.threads = one.threads;
    engine::Engine engine(*model::load_model_file(folder.file("model.safetensors")), plan_options);
    tiles::PipelineOptions options;
    options.threads = one.threads;
    const auto alone =
        tiles::possible_holdings(engine.plan(), engine.network().configuration(), 0, geometry, options, {});
    const auto chosen = [&](std::int64_t limit) {
      auto holdings = alone;
      tiles::choose_runs_at_once(engine.plan(), engine.network().configuration(), 0, geometry, options, {}, limit,
                                 holdings);
      return holdings;
    };
    const auto all = chosen(std::numeric_limits<std::int64_t>::max());
    REQUIRE(all.size() == alone.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
      CHECK(all[i].runs_at_once == one.at_once);
      if (one.at_once == 1) continue;
      CHECK(all[i].memory.of("network") > alone[i].memory.of("network"));
      // A byte less than all need: fewer at once. No room for another: one, and its memory as before.
      CHECK(chosen(all[i].memory.peak())[i].runs_at_once == one.at_once);
      CHECK(chosen(all[i].memory.peak() - 1)[i].runs_at_once < one.at_once);
      CHECK(chosen(alone[i].memory.peak())[i].runs_at_once == 1);
      CHECK(chosen(alone[i].memory.peak())[i].memory.peak() == alone[i].memory.peak());
    }
  }
}

TEST_CASE("a caller can cancel while the image is prepared, in every way of holding it") {
  const test::TemporaryFolder folder;
  model::write_random_model(
      R"({"input_channels":1,"classes":2,"base_features":4,"pool_strides":[[1,2,2],[2,2,2]],"patch_size":[8,16,12]})",
      "test", 5, folder.file("model.safetensors"));
  engine::Engine engine(*model::load_model_file(folder.file("model.safetensors")), {});
  Geometry geometry;
  geometry.shape = {200, 20, 20};
  imaging::write_volumes(folder.file("a.nii.gz"), imaging::NiftiHeader::from_geometry(geometry),
                         synthetic_image(geometry.shape).data(), 1);
  for (const Holding holding : {Holding::image, Holding::prepared, Holding::window}) {
    for (const int calls : {1, 5, 20, 30, 45}) {
      CAPTURE(std::string(tiles::holding_name(holding)));
      CAPTURE(calls);
      imaging::ImageReader reader(folder.file("a.nii.gz"));
      tiles::PipelineOptions options;
      options.threads = 2;
      options.holding = holding;
      options.read_ahead = true;
      KeepLabels keep(geometry.shape);
      int seen = 0;
      bool only_preparing = true;
      const auto stop = [&](const Progress& progress) {
        only_preparing = only_preparing && progress.stage == Progress::Stage::prepare;
        return ++seen < calls;
      };
      CHECK_THROWS_AS(tiles::segment_volume(engine, reader.geometry(), {&reader}, options, keep, stop), Error);
      CHECK(seen == calls);
      CHECK(only_preparing);
    }
  }
}
