// Tiles over a volume against the original implementation's sliding window.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "base/parallel.h"
#include "e2enet/error.h"
#include "model/model_file.h"
#include "model/random_model.h"
#include "support/npy.h"
#include "support/paths.h"
#include "support/temporary_folder.h"
#include "tiles/sliding_window.h"

namespace {

using namespace e2enet::tiles;
using e2enet::Extent;
using e2enet::engine::Engine;

// Keeps every slice: probabilities as (classes, D, H, W).
class KeepAll : public SliceSink {
 public:
  KeepAll(int classes, const Extent& volume) : classes_(classes), volume_(volume) {
    values.resize(std::size_t(classes) * std::size_t(volume[0]) * plane());
  }
  void consume(const FinishedSlices& slices) override {
    for (int d = slices.begin(); d < slices.end(); ++d) {
      CHECK(d == next_++);
      for (int c = 0; c < classes_; ++c) {
        std::memcpy(values.data() + (std::size_t(c) * std::size_t(volume_[0]) + std::size_t(d)) * plane(),
                    slices.slice(d) + std::size_t(c) * plane(), plane() * sizeof(float));
      }
    }
  }
  std::vector<float> values;

 private:
  std::size_t plane() const { return std::size_t(volume_[1]) * std::size_t(volume_[2]); }
  int classes_;
  Extent volume_;
  int next_ = 0;
};

std::vector<int> tile_starts(int image, int patch, double step) {
  const TileStarts starts(image, patch, step);
  std::vector<int> all;
  for (std::int64_t i = 0; i < starts.count(); ++i) all.push_back(starts[i]);
  return all;
}

struct GoldenRun {
  const char* input;
  const char* name;
  TilingOptions options;
  int saved_every;
};

// `folder` has the inputs, and for each run NAME_prob and NAME_seg.
void check_runs(const std::string& model, const std::string& folder, const std::vector<GoldenRun>& runs) {
  const auto network = e2enet::model::load_model_file(model);
  Engine engine(*network, {});
  for (const GoldenRun& golden : runs) {
    CAPTURE(std::string(golden.name));
    const auto input = e2enet::test::read_npy<float>(folder + golden.input);
    const auto expected = e2enet::test::read_npy<float>(folder + golden.name + "_prob.npy.gz");
    const auto labels = e2enet::test::read_npy<std::uint8_t>(folder + golden.name + "_seg.npy.gz");
    REQUIRE(input.shape.size() == 4);
    const Extent volume{int(input.shape[1]), int(input.shape[2]), int(input.shape[3])};
    const int classes = network->architecture().classes;
    SlidingWindow window(engine, golden.options, volume);
    KeepAll all(classes, volume);
    window.run(input.values.data(), all);

    const auto index = [&](int c, int d, int h, int w) {
      return ((std::size_t(c) * std::size_t(volume[0]) + std::size_t(d)) * std::size_t(volume[1]) + std::size_t(h)) *
                 std::size_t(volume[2]) +
             std::size_t(w);
    };
    std::size_t at = 0;
    double largest = 0;
    const int every = golden.saved_every;
    REQUIRE(expected.shape.size() == 4);
    for (int c = 0; c < expected.shape[0]; ++c)
      for (int d = 0; d < volume[0]; d += every)
        for (int h = 0; h < volume[1]; h += every)
          for (int w = 0; w < volume[2]; w += every)
            largest =
                std::max(largest, std::abs(double(all.values[index(c, d, h, w)]) - double(expected.values[at++])));
    REQUIRE(at == expected.values.size());
    MESSAGE("largest difference of a probability: " << largest);
    CHECK(largest < 1e-4);

    std::size_t wrong = 0;
    for (std::size_t i = 0; i < labels.values.size(); ++i) {
      const std::size_t voxels = labels.values.size();
      int best = 0;
      for (int c = 1; c < classes; ++c) {
        if (all.values[std::size_t(c) * voxels + i] > all.values[std::size_t(best) * voxels + i]) best = c;
      }
      const float margin =
          all.values[std::size_t(best) * voxels + i] - all.values[std::size_t(labels.values[i]) * voxels + i];
      if (best != labels.values[i] && margin > 1e-4f) ++wrong;
    }
    CHECK(wrong == 0);
  }
}

struct Tilings {
  Tilings() {
    mirrored.mirror_axes = {0, 1, 2};
    mirrored02.mirror_axes = {0, 2};
    flat.step = 0.75;
    flat.gaussian = false;
  }
  TilingOptions plain, mirrored, mirrored02, flat;
};

}  // namespace

TEST_CASE("tiles start where nnU-Net starts them") {
  CHECK(tile_starts(110, 64, 0.5) == std::vector<int>{0, 23, 46});
  CHECK(tile_starts(16, 16, 0.5) == std::vector<int>{0});
  CHECK(tile_starts(10, 64, 0.5) == std::vector<int>{0});
  CHECK(tile_starts(65, 64, 0.5) == std::vector<int>{0, 1});
  CHECK(tile_starts(162, 30, 0.5) == std::vector<int>{0, 15, 29, 44, 59, 73, 88, 103, 117, 132});
  CHECK(tile_starts(529, 224, 0.5) == std::vector<int>{0, 102, 203, 305});
  CHECK(tile_starts(17, 10, 0.5) == std::vector<int>{0, 4, 7});
  CHECK(tile_starts(18, 10, 0.3) == std::vector<int>{0, 3, 5, 8});
  CHECK(tile_starts(161, 64, 0.75) == std::vector<int>{0, 32, 65, 97});
  CHECK(tile_starts(11, 4, 0.5) == std::vector<int>{0, 2, 4, 5, 7});
}

TEST_CASE("a step that no tile can make is refused, whatever the image") {
  for (const double step : {1e-12, 1e-300, 0.0, -0.0, -0.5, 1.0000001, 2.0, double(NAN), double(INFINITY),
                            -double(INFINITY), 0.0155 /* of 64 voxels, less than one */}) {
    CAPTURE(step);
    for (const int image : {1, 63, 64, 65, 32767, 2147483647}) {
      try {
        const TileStarts starts(image, 64, step);
        FAIL("not refused");
      } catch (const e2enet::Error& error) {
        CHECK(error.code() == e2enet::ErrorCode::invalid_argument);
        CHECK(std::string(error.what()).find("step: expected") == 0);
      }
    }
    CHECK(step_problem(step, {64, 64, 64}) != "");
  }
  CHECK(step_problem(0.02, {64, 64, 32}).find("along W (32 voxels), found 0.02") != std::string::npos);
  CHECK(step_problem(0.5, {1, 64, 64}) == "");
  CHECK(step_problem(0.49, {1, 64, 64}) != "");
  for (int patch = 1; patch < 4097; ++patch) CHECK(step_problem(1.0 / patch, {patch, patch, patch}) == "");
}

TEST_CASE("tiles of any patch, step and size cover the axis from end to end, at least one of them") {
  for (const int patch : {1, 2, 3, 7, 16, 49, 64, 224, 4096}) {
    for (const double step : {1.0, 0.75, 0.5, 0.3, 1.0 / 3, 0.1, 1.0 / 49, 1.0 / 64}) {
      if (step_problem(step, {patch, patch, patch}) != "") continue;
      for (const int image : {1, 2, 3, 7, 8, 16, 17, 63, 64, 65, 100, 225, 5000}) {
        CAPTURE(patch);
        CAPTURE(step);
        CAPTURE(image);
        const std::vector<int> starts = tile_starts(image, patch, step);
        REQUIRE(!starts.empty());
        CHECK(starts.front() == 0);
        CHECK(starts.back() == std::max(0, image - patch));
        int gaps = 0;
        for (std::size_t i = 1; i < starts.size(); ++i) {
          gaps += starts[i] < starts[i - 1] || starts[i] > starts[i - 1] + patch;
        }
        CHECK(gaps == 0);
      }
    }
  }
  // Counted, not built: as many tiles as fit no memory.
  const TileStarts many(2147483647, 1, 0.5);
  CHECK(many.count() == std::int64_t{2} * 2147483646 + 1);
  CHECK(many[many.count() - 1] == 2147483646);
}

TEST_CASE("a tile's weights are the original's Gaussian") {
  const std::vector<float> weights = gaussian_weights({16, 64, 64});
  double sum = 0;
  for (const float weight : weights) sum += weight;
  CHECK(sum == doctest::Approx(2015.518764052548).epsilon(1e-9));
  CHECK(*std::min_element(weights.begin(), weights.end()) == 3.775134371775124e-11f);
}

TEST_CASE("a tile's weights are the original's Gaussian, value by value" * doctest::test_suite("shared")) {
  const std::vector<float> weights = gaussian_weights({16, 64, 64});
  E2ENET_NEEDS_SHARED("golden/slide/gaussian_16x64x64.npy.gz");
  const auto expected =
      e2enet::test::read_npy<float>(e2enet::test::shared_path("golden/slide/gaussian_16x64x64.npy.gz"));
  REQUIRE(expected.values.size() == weights.size());
  double largest = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    largest = std::max(largest, std::abs(double(weights[i]) / double(expected.values[i]) - 1));
  }
  CHECK(largest < 2e-7);
}

TEST_CASE(
    "probabilities and labels over a volume equal the reference's: axes shorter and longer than the patch, mirrored") {
  const Tilings tiling;
  const std::string folder = e2enet::test::source_path("tests/data/golden/slide/");
  check_runs(folder + "model.safetensors", folder,
             {{"long_input.npy.gz", "long_plain", tiling.plain, 1},
              {"long_input.npy.gz", "long_mirror", tiling.mirrored, 1},
              {"short_input.npy.gz", "short_mirror", tiling.mirrored, 1},
              {"short_input.npy.gz", "short_step075_flat", tiling.flat, 1},
              {"one_input.npy.gz", "one_plain", tiling.plain, 1},
              {"one_input.npy.gz", "one_mirror02", tiling.mirrored02, 1}});
}

TEST_CASE("probabilities and labels over a volume equal the original's" * doctest::test_suite("shared")) {
  E2ENET_NEEDS_SHARED("golden/slide");
  const Tilings tiling;
  check_runs(e2enet::test::source_path("tests/data/networks/net_A.safetensors"),
             e2enet::test::shared_path("golden/slide/"),
             {{"big_input.npy.gz", "big_nomirror", tiling.plain, 2},
              {"big_input.npy.gz", "big_mirror", tiling.mirrored, 1},
              {"small_input.npy", "small_mirror", tiling.mirrored, 1},
              {"small_input.npy", "small_step075_nogauss", tiling.flat, 1},
              {"one_input.npy", "one_nomirror", tiling.plain, 1},
              {"one_input.npy", "one_mirror02", tiling.mirrored02, 1}});
}

TEST_CASE("a callback that says stop stops the work within one run of the network") {
  const auto network =
      e2enet::model::load_model_file(e2enet::test::source_path("tests/data/networks/net_A.safetensors"));
  Engine engine(*network, {});
  const Extent volume{16, 64, 100};
  SlidingWindow window(engine, {}, volume);
  KeepAll all(3, volume);
  const std::vector<float> image(16 * 64 * 100, 0.5f);
  std::int64_t last = -1;
  const auto stop = [&](std::int64_t done, std::int64_t) { return (last = done) < 1; };
  CHECK_THROWS_AS(window.run(image.data(), all, stop), e2enet::Error);
  CHECK(last == 1);
}

namespace {

std::vector<float> noise(std::size_t count) {
  std::vector<float> values(count);
  std::uint32_t state = 1;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = float(state >> 8) / float(1 << 23) - 1.0f;
  }
  return values;
}

// A small network, so that what counts is how often it runs.
std::shared_ptr<const e2enet::model::Network> small_network() {
  const e2enet::test::TemporaryFolder folder;
  e2enet::model::write_random_model(
      R"({"input_channels":1,"classes":3,"base_features":4,"pool_strides":[[1,2,2],[2,2,2]],"patch_size":[8,16,12],)"
      R"("density":0.5,"preprocessing":{"normalization":[{"scheme":"nonCT"}]}})",
      "test", 5, folder.file("model.safetensors"));
  return e2enet::model::load_model_file(folder.file("model.safetensors"));
}

Engine engine_with(const e2enet::model::Network& network, int threads) {
  e2enet::plan::PlanOptions options;
  options.threads = threads;
  return Engine(network, options);
}

}  // namespace

TEST_CASE("runs side by side give the same bits, and progress counts each of them once") {
  const auto network = small_network();
  const Extent volume{14, 18, 20};
  const std::vector<float> image = noise(14 * 18 * 20);
  for (const std::vector<int>& mirror_axes : {std::vector<int>{}, std::vector<int>{2}}) {
    std::vector<float> expected;
    struct Case {
      int threads, wanted, at_once;
    };
    // Six or twelve runs a layer: all at once, a rest that shares the threads, more threads than runs.
    for (const auto& [threads, wanted, at_once] :
         {Case{1, 1, 1}, {2, 1, 1}, {2, 2, 2}, {4, 2, 2}, {4, 4, 4}, {5, 4, 1}, {5, 5, 5}, {8, 99, -1}}) {
      CAPTURE(threads);
      CAPTURE(wanted);
      Engine engine = engine_with(*network, threads);
      TilingOptions options;
      options.mirror_axes = mirror_axes;
      options.side_by_side = wanted;
      const int found = SlidingWindow::runs_at_once(wanted, threads, volume, engine.plan().patch, options);
      CHECK(found == (at_once > 0 ? at_once : mirror_axes.empty() ? 4 : 8));
      SlidingWindow window(engine, options, volume);
      for (int again = 0; again < 2; ++again) {
        KeepAll all(3, volume);
        std::vector<std::int64_t> reports;
        window.run(image.data(), all, [&](std::int64_t done, std::int64_t total) {
          CHECK(total == window.runs());
          reports.push_back(done);
          return true;
        });
        REQUIRE(reports.size() == std::size_t(window.runs()) + 1);
        for (std::size_t i = 0; i < reports.size(); ++i) CHECK(reports[i] == std::int64_t(i));
        if (expected.empty()) expected = all.values;
        CHECK(std::memcmp(all.values.data(), expected.data(), expected.size() * sizeof(float)) == 0);
      }
    }
  }
}

TEST_CASE("what stops one of several runs side by side stops all, and the next call works") {
  const auto network = small_network();
  const Extent volume{8, 18, 20};
  const std::vector<float> image = noise(8 * 18 * 20);
  for (const int threads : {2, 4}) {
    Engine engine = engine_with(*network, threads);
    TilingOptions options;
    options.side_by_side = 2;
    SlidingWindow window(engine, options, volume);
    std::vector<float> expected;
    for (const std::int64_t stop_at : {-1, 0, 1, 3, 5, -1}) {
      CAPTURE(stop_at);
      KeepAll all(3, volume);
      const auto stop = [&](std::int64_t done, std::int64_t) { return done != stop_at; };
      const auto fail = [&](std::int64_t done, std::int64_t) -> bool {
        if (done == stop_at) throw std::string("the caller's own");
        return true;
      };
      if (stop_at < 0) {
        window.run(image.data(), all, stop);
        if (expected.empty()) expected = all.values;
        CHECK(std::memcmp(all.values.data(), expected.data(), expected.size() * sizeof(float)) == 0);
        continue;
      }
      CHECK_THROWS_WITH_AS(window.run(image.data(), all, stop), "cancelled by the caller", e2enet::Error);
      CHECK_THROWS_AS(window.run(image.data(), all, fail), std::string);
    }
  }
}

TEST_CASE("runs side by side within a team of one, as where a caller's own loop is one of ours, give the same bits") {
  const auto network = small_network();
  const Extent volume{8, 18, 20};
  const std::vector<float> image = noise(8 * 18 * 20);
  std::vector<std::vector<float>> found;
  for (const bool within : {false, true}) {
    Engine engine = engine_with(*network, 2);
    TilingOptions options;
    options.side_by_side = 2;
    SlidingWindow window(engine, options, volume);
    KeepAll all(3, volume);
    if (within) {
      e2enet::run_team(2, [&](const e2enet::Worker& worker) {
        if (worker.thread() == 1) window.run(image.data(), all);
      });
    } else {
      window.run(image.data(), all);
    }
    found.push_back(all.values);
  }
  CHECK(std::memcmp(found[0].data(), found[1].data(), found[0].size() * sizeof(float)) == 0);
}

TEST_CASE("a step out of range is refused") {
  const auto network =
      e2enet::model::load_model_file(e2enet::test::source_path("tests/data/networks/net_A.safetensors"));
  Engine engine(*network, {});
  for (const double step : {0.0, -1.0, 1.5, std::nan("")}) {
    TilingOptions options;
    options.step = step;
    CHECK_THROWS_AS(SlidingWindow(engine, options, {16, 64, 64}), e2enet::Error);
  }
}
