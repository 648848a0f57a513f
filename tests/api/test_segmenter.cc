// What the headers of include/e2enet promise.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "fixtures.h"
#include "support/sanitizers.h"
#include "support/skip.h"

namespace {

using e2enet::Error;
using e2enet::ErrorCode;
using e2enet::Image;
using e2enet::Model;
using e2enet::Options;
using e2enet::PatchOptions;
using e2enet::PatchRunner;
using e2enet::Progress;
using e2enet::ProgressCallback;
using e2enet::Request;
using e2enet::Segmentation;
using e2enet::Shape;
using e2enet::test::small_model;
using e2enet::test::TemporaryFolder;
using e2enet::test::TestImage;
using e2enet::test::TestView;

Options with_threads(int threads) {
  Options options;
  options.threads = threads;
  return options;
}

// Asks for probabilities too, which show more than labels do.
struct Segmenter : e2enet::Segmenter {
  using e2enet::Segmenter::Segmenter;
  Segmentation segment(const Image& image, const ProgressCallback& progress = {}) {
    Request request;
    request.probabilities = true;
    return e2enet::Segmenter::segment(image, request, progress);
  }
};

bool same_bits(const Segmentation& a, const Segmentation& b) {
  return a.labels == b.labels && a.probabilities.size() == b.probabilities.size() &&
         std::memcmp(a.probabilities.data(), b.probabilities.data(), a.probabilities.size() * sizeof(float)) == 0;
}

// segment() must throw `code` with `text` in the message.
void refused(Segmenter& segmenter, const TestView& image, ErrorCode code, const std::string& text) {
  CAPTURE(text);
  try {
    segmenter.segment(image);
    FAIL_CHECK("was segmented");
  } catch (const Error& error) {
    CHECK(int(error.code()) == int(code));
    CAPTURE(std::string(error.what()));
    CHECK(std::string(error.what()).find(text) != std::string::npos);
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
  }
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

TEST_CASE("a model says what it is") {
  const Model model = small_model(R"(, "labels": {"0": "background", "1": "anterior", "2": "posterior"})");
  CHECK(model.input_channels() == 2);
  CHECK(model.classes() == 3);
  CHECK(model.patch_size() == std::array<int, 3>{8, 16, 12});
  CHECK(model.labels() == std::map<int, std::string>{{0, "background"}, {1, "anterior"}, {2, "posterior"}});
  CHECK(model.parameters() > 0);
  CHECK(model.flops_paper() > model.flops_executed());
}

TEST_CASE("a segmentation has the image's geometry, a label a voxel, and probabilities that agree with them") {
  const TestImage image({11, 30, 25});
  Segmenter segmenter(small_model(), with_threads(2));
  const Segmentation result = segmenter.segment(image.view);
  CHECK(result.geometry.shape == image.view.geometry.shape);
  CHECK(result.geometry.spacing == image.view.geometry.spacing);
  CHECK(result.geometry.affine == image.view.geometry.affine);
  CHECK_FALSE(result.empty_image);
  REQUIRE(result.labels.size() == image.voxels());
  REQUIRE(result.probabilities.size() == 3 * image.voxels());
  std::vector<std::size_t> count(3);
  for (std::size_t v = 0; v < image.voxels(); ++v) {
    std::size_t best = 0;
    double sum = 0;
    for (std::size_t c = 0; c < 3; ++c) {
      const float probability = result.probabilities[c * image.voxels() + v];
      sum += double(probability);
      if (probability > result.probabilities[best * image.voxels() + v]) best = c;
    }
    if (std::abs(sum - 1) > 1e-5 || result.labels[v] != best) {
      FAIL("voxel " << v << ": label " << result.labels[v] << ", best class " << best << ", sum " << sum);
    }
    ++count[best];
  }
  // A random network on noise: every class occurs, or the test would see nothing.
  for (const std::size_t voxels : count) CHECK(voxels > 0);

  Options plain;
  plain.threads = 2;
  const Segmentation labels_only = e2enet::Segmenter(small_model(), plain).segment(image.view);
  CHECK(labels_only.labels == result.labels);
  CHECK(labels_only.probabilities.empty());
}

TEST_CASE("the same bits on every run, in every segmenter and for every number of threads") {
  const Model model = small_model();
  const TestImage image({13, 27, 31});
  for (const auto precision : {e2enet::Precision::f32, e2enet::Precision::bf16}) {
    Options options = with_threads(1);
    options.precision = precision;
    const Segmentation expected = Segmenter(model, options).segment(image.view);
    for (const int threads : {1, 2, 3, 4}) {
      CAPTURE(threads);
      options.threads = threads;
      Segmenter segmenter(model, options);
      for (int run = 0; run < 3; ++run) CHECK(same_bits(segmenter.segment(image.view), expected));
    }
  }
}

TEST_CASE("a segmenter keeps nothing of one image for the next") {
  const Model model = small_model();
  const TestImage small({5, 9, 7}, 2, 3), large({20, 33, 40}, 2, 4);
  Segmenter used(model, with_threads(2));
  for (const TestImage* image : {&large, &small, &large, &small}) {
    Segmenter fresh(model, with_threads(2));
    CHECK(same_bits(used.segment(image->view), fresh.segment(image->view)));
  }
}

TEST_CASE("several segmenters share one model, each in its own thread") {
  constexpr int kSegmenters = 4;
  const Model model = small_model();
  std::vector<Segmentation> expected(kSegmenters), found(kSegmenters);
  const auto work = [&](int i, Segmentation& result) {
    const TestImage image({9 + i, 24, 20 + 3 * i}, 2, std::uint32_t(i));
    Segmenter segmenter(model, with_threads(1 + i % 2));
    for (int run = 0; run < 3; ++run) result = segmenter.segment(image.view);
  };
  for (int i = 0; i < kSegmenters; ++i) work(i, expected[std::size_t(i)]);
  std::vector<std::thread> threads;
  for (int i = 0; i < kSegmenters; ++i) threads.emplace_back(work, i, std::ref(found[std::size_t(i)]));
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < kSegmenters; ++i) {
    CAPTURE(i);
    CHECK(same_bits(found[i], expected[i]));
  }
}

TEST_CASE("a segmenter outlives the model that it was made from, and can be moved") {
  const TestImage image({8, 16, 12});
  Segmenter first = [] {
    const Model model = small_model();
    return Segmenter(model, with_threads(1));
  }();
  const Segmentation expected = first.segment(image.view);
  Segmenter second = std::move(first);
  CHECK(same_bits(second.segment(image.view), expected));
  second = Segmenter(small_model(), with_threads(2));
  CHECK(same_bits(second.segment(image.view), expected));
}

TEST_CASE("progress counts up to its total in every stage, on the calling thread") {
  const TestImage image({20, 30, 30});
  Segmenter segmenter(small_model(), with_threads(2));
  std::vector<Progress> seen;
  const std::thread::id caller = std::this_thread::get_id();
  segmenter.segment(image.view, [&](const Progress& progress) {
    CHECK(std::this_thread::get_id() == caller);
    seen.push_back(progress);
    return true;
  });
  std::int64_t tiles = 0;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    CHECK(seen[i].done >= 0);
    CHECK(seen[i].done <= seen[i].total);
    if (i > 0) {
      CHECK(int(seen[i].stage) >= int(seen[i - 1].stage));
      if (seen[i].stage == seen[i - 1].stage) {
        CHECK(seen[i].done >= seen[i - 1].done);
        CHECK(seen[i].total == seen[i - 1].total);
      }
    }
    if (seen[i].stage == Progress::Stage::segment) tiles = seen[i].total;
  }
  // Starts on D: 20 of 8 at half a patch: 4; on H: 30 of 16: 3; on W: 30 of 12: 4.
  CHECK(tiles == 4 * 3 * 4);
  REQUIRE_FALSE(seen.empty());
  CHECK(seen.back().done == seen.back().total);
}

TEST_CASE("cancelling at any call stops there, and the segmenter still works") {
  const TestImage image({12, 20, 20});
  Segmenter segmenter(small_model(), with_threads(2));
  int calls = 0;
  const Segmentation expected = segmenter.segment(image.view, [&](const Progress&) { return ++calls > 0; });
  REQUIRE(calls > 4);
  for (int last = 1; last <= calls; ++last) {
    CAPTURE(last);
    int count = 0;
    try {
      segmenter.segment(image.view, [&](const Progress&) { return ++count < last; });
      FAIL_CHECK("was not cancelled");
    } catch (const Error& error) {
      CHECK(int(error.code()) == int(ErrorCode::cancelled));
    }
    CHECK(count == last);  // asked to stop, it does not ask again
  }
  CHECK(same_bits(segmenter.segment(image.view), expected));
}

TEST_CASE("an exception of the callback comes out of segment(), and the segmenter still works") {
  const TestImage image({12, 20, 20});
  Segmenter segmenter(small_model(), with_threads(2));
  const Segmentation expected = segmenter.segment(image.view);
  for (const int last : {0, 3, 7}) {
    int count = 0;
    CHECK_THROWS_AS(segmenter.segment(image.view,
                                      [&](const Progress&) -> bool {
                                        if (count++ == last) throw std::domain_error("the caller's own");
                                        return true;
                                      }),
                    std::domain_error);
  }
  CHECK(same_bits(segmenter.segment(image.view), expected));
}

TEST_CASE("images that make no sense are refused, and the segmenter still works") {
  const TestImage image({8, 16, 12});
  Segmenter segmenter(small_model(), with_threads(2));
  const Segmentation expected = segmenter.segment(image.view);
  const auto changed = [&](auto change, const std::string& text, ErrorCode code = ErrorCode::invalid_image) {
    TestView view = image.view;
    change(view);
    refused(segmenter, view, code, text);
  };
  changed([](TestView& view) { view.channels.clear(); }, "found none", ErrorCode::invalid_argument);
  changed([](TestView& view) { view.channels.pop_back(); }, "expected 2");
  changed([](TestView& view) { view.channels.push_back(view.channels[0]); }, "expected 2");
  changed([](TestView& view) { view.channels[1] = nullptr; }, "null", ErrorCode::invalid_argument);
  for (const std::int64_t extent :
       {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 40, std::numeric_limits<std::int64_t>::min(),
        std::numeric_limits<std::int64_t>::max()}) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      changed([&](TestView& view) { view.geometry.shape[axis] = extent; }, "voxels");
    }
  }
  const double bad_spacings[] = {0, -1, double(kNan), double(kInfinity), -double(kInfinity)};
  for (const double spacing : bad_spacings) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      changed([&](TestView& view) { view.geometry.spacing[axis] = spacing; }, "spacing");
    }
  }
  changed([](TestView& view) { view.geometry.affine[5] = double(kNan); }, "affine");
  CHECK(same_bits(segmenter.segment(image.view), expected));
}

TEST_CASE("an affine that does not tell where voxels lie is refused; one that contradicts the spacing is remarked on") {
  const TestImage image({8, 16, 12});
  Segmenter segmenter(small_model(), with_threads(2));
  const Segmentation expected = segmenter.segment(image.view);
  CHECK(expected.remarks.empty());
  const e2enet::Affine unusable[] = {
      {},                                                            // a zeroed structure
      {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},              // the same with a 1 in the corner
      {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},              // a column of zeros
      {1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1},              // two axes in one direction
      {1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 1},              // three in a plane
      {1e300, 0, 0, 0, 0, 1e300, 0, 0, 0, 0, 1e300, 0, 0, 0, 0, 1},  // no number for the volume
  };
  for (const e2enet::Affine& affine : unusable) {
    TestView view = image.view;
    view.geometry.affine = affine;
    refused(segmenter, view, ErrorCode::invalid_argument, "affine");
  }
  // Left-handed and turned ones are as good as any.
  for (const e2enet::Affine& affine : {e2enet::Affine{-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1},
                                       e2enet::Affine{0.6, -0.8, 0, 5, 0.8, 0.6, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}}) {
    TestView view = image.view;
    view.geometry.affine = affine;
    CHECK(segmenter.segment(view).remarks.empty());
  }
  TestView view = image.view;
  view.geometry.affine = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1};
  const Segmentation contradicted = segmenter.segment(view);
  CHECK(same_bits(contradicted, expected));  // distances go by the spacing
  REQUIRE(contradicted.remarks.size() == 1);
  CHECK(contradicted.remarks[0].text.find("2 mm3") != std::string::npos);
  CHECK(contradicted.remarks[0].text.find("1 mm3") != std::string::npos);
  view.geometry.affine = {1, 0, 0, 0, 0, 1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0, 1};
  CHECK(segmenter.segment(view).remarks.size() == 2);  // the length, the angle
}

TEST_CASE("an implausible spacing is refused, unless that is allowed") {
  const TestImage image({10, 20, 15});
  for (const bool with_spacing : {false, true}) {
    CAPTURE(with_spacing);
    const Model model =
        small_model(with_spacing ? R"(, "preprocessing": {"spacing": [2, 1, 1], "orientation": "RAS"})" : "");
    Segmenter segmenter(model, with_threads(2));
    Options options = with_threads(2);
    options.allow_implausible_spacing = true;
    Segmenter allowing(model, options);
    const auto with = [&](double spacing, std::size_t axis) {
      TestView view = image.view;
      view.geometry.spacing = {1, 1, 1};
      view.geometry.spacing[axis] = spacing;
      return view;
    };
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const double extent = double(image.view.geometry.shape[axis]);
      CHECK_NOTHROW(segmenter.segment(with(0.2, axis)));  // a field of view of 2 to 4 mm
      refused(segmenter, with(0.09, axis), ErrorCode::invalid_image, "spacing: expected a field of view");
      refused(segmenter, with(3001 / extent, axis), ErrorCode::invalid_image, "spacing: expected a field of view");
      CHECK_NOTHROW(allowing.segment(with(0.09, axis)));
    }
    if (!with_spacing) {
      CHECK_NOTHROW(segmenter.segment(with(100, 0)));
      continue;
    }
    CHECK_NOTHROW(segmenter.segment(with(20, 0)));
    CHECK_NOTHROW(segmenter.segment(with(10, 2)));
    refused(segmenter, with(20.1, 0), ErrorCode::invalid_image, "of the model's 2 mm");
    refused(segmenter, with(10.1, 1), ErrorCode::invalid_image, "10.1 mm along j");
    // The model's axes in the file's order: depth is the file's i.
    TestView turned = with(20.1, 2);
    turned.geometry.affine = {0, 0, 1, 0, 0, 1, 0, 0, 20.1, 0, 0, 0, 0, 0, 0, 1};
    refused(segmenter, turned, ErrorCode::invalid_image, "20.1 mm along i");
    turned.geometry.spacing[2] = 19;
    CHECK_NOTHROW(segmenter.segment(turned));
    // Beyond any memory, allowed or not.
    refused(allowing, with(1e30, 0), ErrorCode::invalid_image, "spacing along network axis 0");
  }
}

TEST_CASE("an image larger than any memory is refused as such") {
  if (e2enet::test::kAddressSanitizer || e2enet::test::kThreadSanitizer)
    E2ENET_SKIP("the sanitizer ends the process where the system would refuse the memory");
  const TestImage image({8, 16, 12});
  Options options = with_threads(1);
  options.allow_implausible_spacing = true;  // of 16 metres
  Segmenter segmenter(small_model(), options);
  TestView view = image.view;
  view.geometry.shape = {16000, 16000, 16000};
  refused(segmenter, view, ErrorCode::memory_limit, "three quarters of the free memory");
  options.memory_limit = std::int64_t{1} << 62;
  Segmenter unlimited(small_model(), options);
  refused(unlimited, view, ErrorCode::out_of_memory, "memory");
}

TEST_CASE("an infinite voxel is refused; NaN counts as 0") {
  TestImage image({10, 18, 14});
  Segmenter segmenter(small_model(), with_threads(2));
  image.channels[0][1234] = 0;
  const Segmentation expected = segmenter.segment(image.view);
  image.channels[0][1234] = kNan;
  CHECK(same_bits(segmenter.segment(image.view), expected));
  for (const float value : {kInfinity, -kInfinity}) {
    image.channels[1][77] = value;
    refused(segmenter, image.view, ErrorCode::invalid_image, "infinite");
  }
}

TEST_CASE("an image of zeros is all background, and says so") {
  TestImage image({6, 7, 8});
  for (auto& channel : image.channels) std::fill(channel.begin(), channel.end(), 0.0f);
  Segmenter segmenter(small_model(), with_threads(2));
  const Segmentation result = segmenter.segment(image.view);
  CHECK(result.empty_image);
  CHECK(result.labels == std::vector<std::uint16_t>(image.voxels(), 0));
  REQUIRE(result.probabilities.size() == 3 * image.voxels());
  for (std::size_t v = 0; v < image.voxels(); ++v) CHECK(result.probabilities[v] == 1.0f);
}

TEST_CASE("degenerate images are segmented: one voxel, lines, planes, constants, all NaN, extreme values") {
  const auto check = [](const Model& model, const TestImage& image) {
    CAPTURE(image.view.geometry.shape[0]);
    CAPTURE(image.view.geometry.shape[1]);
    CAPTURE(image.view.geometry.shape[2]);
    Options options = with_threads(2);
    options.allow_implausible_spacing = true;  // of one voxel, for example
    const Segmentation result = Segmenter(model, options).segment(image.view);
    REQUIRE(result.labels.size() == image.voxels());
    CHECK(*std::max_element(result.labels.begin(), result.labels.end()) < 3);
    std::size_t strange = 0;
    for (const float probability : result.probabilities) strange += !(probability >= 0 && probability <= 1.0001f);
    CHECK(strange == 0);
  };
  const std::vector<std::string> preprocessings = {
      "",
      R"(, "preprocessing": {"spacing": [3, 0.7, 1.3]})",
      R"(, "preprocessing": {"spacing": [9, 1, 1], "transpose_forward": [2, 0, 1], "orientation": "LPI"})",
      R"(, "preprocessing": {"normalization": [{"scheme": "nonCT", "use_mask": true}, {"scheme": "noNorm"}]})",
  };
  for (const std::string& preprocessing : preprocessings) {
    CAPTURE(preprocessing);
    const Model model = small_model(preprocessing);
    for (const Shape& shape : {Shape{1, 1, 1}, Shape{1, 1, 50}, Shape{1, 50, 1}, Shape{50, 1, 1}, Shape{1, 20, 20},
                               Shape{20, 1, 20}, Shape{20, 20, 1}, Shape{2, 3, 2}}) {
      check(model, TestImage(shape));
      TestImage anisotropic(shape);
      anisotropic.view.geometry.spacing = {5, 0.5, 0.8};
      check(model, anisotropic);
    }
    for (const float value : {1.0f, kNan, 1e30f, -1e30f, 1e-40f}) {
      CAPTURE(value);
      TestImage image({9, 17, 13});
      for (auto& channel : image.channels) std::fill(channel.begin(), channel.end(), value);
      check(model, image);
      TestImage one({9, 17, 13});
      one.channels[0][700] = value;
      check(model, one);
    }
  }
}

TEST_CASE("options out of range are refused by name") {
  const Model model = small_model();
  const auto bad = [&](auto change, const std::string& text) {
    Options options;
    change(options);
    CAPTURE(text);
    try {
      Segmenter segmenter(model, options);
      FAIL_CHECK("was taken");
    } catch (const Error& error) {
      CHECK(int(error.code()) == int(ErrorCode::invalid_argument));
      CHECK(std::string(error.what()).find(text) == 0);
    }
  };
  bad([](Options& options) { options.threads = -1; }, "threads");
  bad([](Options& options) { options.threads = 1 << 30; }, "threads");
  bad([](Options& options) { options.threads = 4097; }, "threads");
  bad([](Options& options) { options.step = 1e-12; }, "step");
  bad([](Options& options) { options.step = std::nan(""); }, "step");
  bad([](Options& options) { options.step = 0.01; }, "step");
  for (const double step : {0.0, -0.5, 1.01, double(kNan), double(kInfinity)}) {
    bad([&](Options& options) { options.step = step; }, "step");
  }
}

TEST_CASE("a model whose patch no memory can hold is refused when it is planned") {
  const Model model = e2enet::test::random_model(R"({"input_channels": 1, "classes": 2, "base_features": 256,
      "pool_strides": [[2, 2, 2]], "patch_size": [1024, 1024, 2048], "density": 0.01})");
  try {
    Segmenter segmenter(model);
    FAIL("was planned");
  } catch (const Error& error) {
    CHECK(int(error.code()) == int(ErrorCode::out_of_memory));
    CHECK(std::string(error.what()).find("memory") != std::string::npos);
  }
}

TEST_CASE("steps, mirroring and the largest component are what they say") {
  const TestImage image({14, 28, 22});
  const Model model = small_model(R"(, "mirror_axes": [0, 2])");
  const auto tiles = [&](const Options& options) {
    std::int64_t total = 0;
    Segmenter(model, options).segment(image.view, [&](const Progress& progress) {
      if (progress.stage == Progress::Stage::segment) total = progress.total;
      return true;
    });
    return total;
  };
  Options options;
  options.threads = 1;
  const std::int64_t half = tiles(options);
  options.step = 1;
  CHECK(tiles(options) == 2 * 2 * 2);
  CHECK(half > 8);
  options.mirror = true;
  CHECK(tiles(options) == 4 * 8);  // every subset of two axes

  Options largest;
  largest.threads = 2;
  largest.largest_component = e2enet::LargestComponent::all;
  const Segmentation all = Segmenter(model, with_threads(2)).segment(image.view);
  const Segmentation kept = Segmenter(model, largest).segment(image.view);
  std::size_t removed = 0;
  for (std::size_t v = 0; v < image.voxels(); ++v) {
    if (kept.labels[v] == all.labels[v]) continue;
    CHECK(kept.labels[v] == 0);
    ++removed;
  }
  CHECK(removed > 0);
}

TEST_CASE("the largest component: as the model says, of none, of all") {
  const TestImage image({14, 28, 22});
  const Model names_none = small_model();
  const auto labels = [&](const Model& model, e2enet::LargestComponent wanted) {
    Options options = with_threads(2);
    options.largest_component = wanted;
    return Segmenter(model, options).segment(image.view).labels;
  };
  using e2enet::LargestComponent;
  const std::vector<std::uint16_t> none = labels(names_none, LargestComponent::none);
  const std::vector<std::uint16_t> all = labels(names_none, LargestComponent::all);
  // A label that is in several pieces here.
  std::uint16_t label = 0;
  for (std::size_t v = 0; v < image.voxels(); ++v) {
    if (all[v] != none[v]) label = none[v];
  }
  REQUIRE(label != 0);
  const Model names_one = small_model(R"(, "postprocessing": {"largest_component": [)" + std::to_string(label) + "]}");
  CHECK(labels(names_none, LargestComponent::model) == none);
  CHECK(labels(names_one, LargestComponent::none) == none);  // the model's list does not apply any more
  CHECK(labels(names_one, LargestComponent::all) == all);
  const std::vector<std::uint16_t> as_the_model_says = labels(names_one, LargestComponent::model);
  CHECK(as_the_model_says == Segmenter(names_one, with_threads(2)).segment(image.view).labels);  // the default
  CHECK(as_the_model_says != none);
  for (std::size_t v = 0; v < image.voxels(); ++v) {
    if (none[v] == label) {
      CHECK(as_the_model_says[v] == all[v]);
    } else {
      CHECK(as_the_model_says[v] == none[v]);
    }
  }
  Options wrong;
  wrong.largest_component = LargestComponent(7);
  CHECK_THROWS_AS(Segmenter(names_none, wrong), e2enet::Error);
}

TEST_CASE("mirroring a mirrored image gives the mirrored result") {
  // The average over all flips of an axis does not know which way round the image was.
  const Model model = small_model(R"(, "mirror_axes": [2])");
  Options options = with_threads(2);
  options.mirror = true;
  TestImage image({8, 16, 12}), flipped({8, 16, 12});
  for (std::size_t c = 0; c < 2; ++c) {
    image.channels[c][0] = flipped.channels[c][11] = 1;  // both corners, so that the crop is the whole image
    for (std::size_t row = 0; row < 8 * 16; ++row) {
      for (std::size_t w = 0; w < 12; ++w) flipped.channels[c][row * 12 + w] = image.channels[c][row * 12 + 11 - w];
    }
  }
  const Segmentation a = Segmenter(model, options).segment(image.view);
  const Segmentation b = Segmenter(model, options).segment(flipped.view);
  double largest = 0;
  for (std::size_t row = 0; row < 3 * 8 * 16; ++row) {
    for (std::size_t w = 0; w < 12; ++w) {
      largest = std::max(largest,
                         std::abs(double(a.probabilities[row * 12 + w]) - double(b.probabilities[row * 12 + 11 - w])));
    }
  }
  CHECK(largest < 1e-5);
}

TEST_CASE("mirroring along left and right exchanges the labels of each pair") {
  // The average over both copies of an image, with its labels exchanged in one of them, is the same for the mirrored
  // image with right and left exchanged, whatever the network; a flip of another axis exchanges nothing.
  const std::string sides = R"(, "mirrored_labels": [[1, 2]], "preprocessing": {"orientation": "RAS"})";
  for (const bool side : {true, false}) {
    CAPTURE(side);
    const Model model = small_model((side ? R"(, "mirror_axes": [2])" : R"(, "mirror_axes": [1])") + sides);
    Options options = with_threads(2);
    options.mirror = true;
    TestImage image({8, 16, 12}), flipped({8, 16, 12});
    const auto mirrored = [&](std::size_t d, std::size_t h, std::size_t w) {
      return side ? (d * 16 + h) * 12 + 11 - w : (d * 16 + 15 - h) * 12 + w;
    };
    for (std::size_t c = 0; c < 2; ++c) {
      // All corners, so that the crop is the whole image.
      image.channels[c].front() = image.channels[c].back() = 1;
      for (std::size_t d = 0; d < 8; ++d) {
        for (std::size_t h = 0; h < 16; ++h) {
          for (std::size_t w = 0; w < 12; ++w)
            flipped.channels[c][(d * 16 + h) * 12 + w] = image.channels[c][mirrored(d, h, w)];
        }
      }
    }
    const Segmentation a = Segmenter(model, options).segment(image.view);
    const Segmentation b = Segmenter(model, options).segment(flipped.view);
    double exchanged = 0, kept = 0;
    for (std::size_t c = 0; c < 3; ++c) {
      const std::size_t other = c == 0 ? 0 : 3 - c;
      for (std::size_t d = 0; d < 8; ++d) {
        for (std::size_t h = 0; h < 16; ++h) {
          for (std::size_t w = 0; w < 12; ++w) {
            const double found = b.probabilities[c * image.voxels() + (d * 16 + h) * 12 + w];
            const std::size_t at = mirrored(d, h, w);
            exchanged = std::max(exchanged, std::abs(found - double(a.probabilities[other * image.voxels() + at])));
            kept = std::max(kept, std::abs(found - double(a.probabilities[c * image.voxels() + at])));
          }
        }
      }
    }
    CHECK((side ? exchanged : kept) < 1e-5);
    CHECK((side ? kept : exchanged) > 1e-2);
  }
}

TEST_CASE("a patch gives the same bits for every number of threads, and finite logits") {
  const Model model = small_model();
  const TestImage image({8, 16, 12});
  std::vector<float> patch;
  for (const auto& channel : image.channels) patch.insert(patch.end(), channel.begin(), channel.end());
  std::vector<float> expected(3 * image.voxels()), found(expected.size());
  PatchOptions options;
  options.threads = 1;
  PatchRunner(model, options).run(patch.data(), expected.data());
  for (const float logit : expected) REQUIRE(std::isfinite(logit));
  for (const int threads : {1, 2, 3, 4, 7}) {
    options.threads = threads;
    PatchRunner runner(model, options);
    CHECK(runner.planned_bytes() > 0);
    for (int run = 0; run < 2; ++run) {
      std::fill(found.begin(), found.end(), kNan);
      runner.run(patch.data(), found.data());
      CHECK(std::memcmp(found.data(), expected.data(), expected.size() * sizeof(float)) == 0);
    }
  }
}

TEST_CASE("regions are written in their order") {
  const Model model = small_model(R"(, "output": "sigmoid", "region_order": [5, 1, 3])");
  const TestImage image({9, 20, 16});
  const Segmentation result = Segmenter(model, with_threads(2)).segment(image.view);
  for (std::size_t v = 0; v < image.voxels(); ++v) {
    int expected = 0;
    const int order[] = {5, 1, 3};
    for (std::size_t region = 0; region < 3; ++region) {
      if (result.probabilities[region * image.voxels() + v] > 0.5f) expected = order[region];
    }
    if (result.labels[v] != expected)
      FAIL("voxel " << v << ": expected " << expected << ", found " << result.labels[v]);
  }
}

TEST_CASE("arrays of every type, order and direction, and slices of a function give the same labels as float32") {
  const Shape shape = {11, 18, 15};
  const TestImage image(shape, 2);
  std::vector<std::vector<std::int16_t>> whole;
  for (const auto& channel : image.channels) {
    std::vector<std::int16_t> values;
    for (const float value : channel) values.push_back(std::int16_t(value));
    whole.push_back(std::move(values));
  }
  std::vector<std::vector<float>> as_float;
  for (const auto& channel : whole) as_float.emplace_back(channel.begin(), channel.end());
  const e2enet::Geometry& geometry = image.view.geometry;
  e2enet::Segmenter segmenter(small_model(), with_threads(2));
  const auto labels = [&](const Image& of) { return segmenter.segment(of).labels; };
  const auto expected = labels(Image::from_arrays(geometry, {{as_float[0].data()}, {as_float[1].data()}}));
  CHECK(*std::max_element(expected.begin(), expected.end()) > 0);

  CHECK(labels(Image::from_arrays(geometry, {{whole[0].data(), e2enet::ScalarType::int16},
                                             {whole[1].data(), e2enet::ScalarType::int16}})) == expected);
  std::vector<std::vector<double>> doubles;
  for (const auto& channel : whole) doubles.emplace_back(channel.begin(), channel.end());
  CHECK(labels(Image::from_arrays(geometry, {{doubles[0].data(), e2enet::ScalarType::float64},
                                             {doubles[1].data(), e2enet::ScalarType::float64}})) == expected);
  // Fortran order (D fastest), and backwards along H.
  const std::ptrdiff_t d = sizeof(std::int16_t), h = d * std::ptrdiff_t(shape[0]), w = h * std::ptrdiff_t(shape[1]);
  std::vector<std::vector<std::int16_t>> turned(2, std::vector<std::int16_t>(whole[0].size()));
  for (std::size_t c = 0; c < 2; ++c) {
    std::size_t from = 0;
    for (std::int64_t i = 0; i < shape[0]; ++i) {
      for (std::int64_t j = 0; j < shape[1]; ++j) {
        for (std::int64_t k = 0; k < shape[2]; ++k) {
          turned[c][std::size_t((k * shape[1] + shape[1] - 1 - j) * shape[0] + i)] = whole[c][from++];
        }
      }
    }
  }
  std::vector<e2enet::ArrayView> views;
  for (const auto& channel : turned) {
    const auto* last_row = reinterpret_cast<const char*>(channel.data()) + h * (shape[1] - 1);
    views.push_back({last_row, e2enet::ScalarType::int16, {d, -h, w}});
  }
  CHECK(labels(Image::from_arrays(geometry, views)) == expected);

  const std::int64_t slice = shape[1] * shape[2];
  const std::thread::id caller = std::this_thread::get_id();
  const auto reader = [&](int channel, std::int64_t first, std::int64_t count, float* values) {
    CHECK(std::this_thread::get_id() == caller);
    std::copy_n(as_float[std::size_t(channel)].begin() + first * slice, count * slice, values);
  };
  CHECK(labels(Image::from_slices(geometry, 2, reader)) == expected);
  const auto failing = [](int, std::int64_t, std::int64_t, float*) { throw std::domain_error("no such slice"); };
  CHECK_THROWS_AS(labels(Image::from_slices(geometry, 2, failing)), std::domain_error);
  CHECK(labels(Image::from_slices(geometry, 2, reader)) == expected);
}

TEST_CASE("labels go to an array, a file and a function alike; a box leaves background around it") {
  const TestImage image({12, 20, 17});
  const TemporaryFolder folder;
  e2enet::Segmenter segmenter(small_model(), with_threads(2));
  std::vector<std::uint16_t> streamed;
  Request request;
  request.labels_file = folder.file("labels.nii.gz");
  request.preview_file = folder.file("labels.png");
  request.probabilities_file = folder.file("probabilities.nii");
  request.mean_intensities = true;
  request.on_labels = [&](std::int64_t first, std::int64_t slices, const std::uint16_t* labels) {
    CHECK(first * 20 * 17 == std::int64_t(streamed.size()));
    streamed.insert(streamed.end(), labels, labels + slices * 20 * 17);
  };
  request.before_files_appear = [&](const Segmentation& segmentation) {
    CHECK(segmentation.labels.size() == image.voxels());
    CHECK_FALSE(folder.has("labels.nii.gz"));
    CHECK_FALSE(folder.has("labels.png"));
    CHECK_FALSE(folder.has("probabilities.nii"));
  };
  const Segmentation result = segmenter.segment(image.view, request);
  CHECK(streamed == result.labels);
  CHECK(e2enet::read_labels(request.labels_file).labels == result.labels);
  CHECK(folder.has("labels.png"));
  CHECK(folder.has("probabilities.nii"));
  std::int64_t counted = 0;
  for (const auto& [label, of_label] : result.statistics) {
    CHECK(of_label.voxels == std::count(result.labels.begin(), result.labels.end(), label));
    CHECK(of_label.ml == doctest::Approx(double(of_label.voxels) / 1000));
    CHECK(of_label.mean_intensity.size() == (of_label.voxels > 0 ? 2 : 0));
    counted += of_label.voxels;
  }
  CHECK(counted > 0);

  Request boxed;
  boxed.box = e2enet::Box{{2, 3, 4}, {11, 18, 12}};
  const Segmentation inside = segmenter.segment(image.view, boxed);
  std::int64_t outside = 0, within = 0;
  for (std::int64_t d = 0; d < 12; ++d) {
    for (std::int64_t h = 0; h < 20; ++h) {
      for (std::int64_t w = 0; w < 17; ++w) {
        const bool in = d >= 2 && d < 11 && h >= 3 && h < 18 && w >= 4 && w < 12;
        (in ? within : outside) += inside.labels[std::size_t((d * 20 + h) * 17 + w)] != 0;
      }
    }
  }
  CHECK(outside == 0);
  CHECK(within > 0);
  for (const e2enet::Box& box : {e2enet::Box{{0, 0, 0}, {12, 20, 18}}, e2enet::Box{{-1, 0, 0}, {12, 20, 17}},
                                 e2enet::Box{{5, 0, 0}, {5, 20, 17}}}) {
    boxed.box = box;
    CHECK_THROWS_WITH_AS(segmenter.segment(image.view, boxed), doctest::Contains("box: expected"), Error);
  }
}

TEST_CASE("when a request fails, none of its files is there") {
  const TestImage image({12, 20, 17});
  const TemporaryFolder folder;
  e2enet::Segmenter segmenter(small_model(), with_threads(2));
  Request request;
  request.labels_file = folder.file("labels.nii");
  request.preview_file = folder.file("labels.png");
  request.probabilities_file = folder.file("probabilities.nii.gz");
  const auto nothing = [&] {
    CHECK_FALSE(folder.has("labels.nii"));
    CHECK_FALSE(folder.has("labels.png"));
    CHECK_FALSE(folder.has("probabilities.nii.gz"));
  };
  request.before_files_appear = [](const Segmentation&) { throw std::domain_error("of the caller"); };
  CHECK_THROWS_AS(segmenter.segment(image.view, request), std::domain_error);
  nothing();
  request.before_files_appear = nullptr;
  request.on_labels = [](std::int64_t, std::int64_t, const std::uint16_t*) {
    throw std::domain_error("of the caller");
  };
  CHECK_THROWS_AS(segmenter.segment(image.view, request), std::domain_error);
  nothing();
  request.on_labels = nullptr;
  CHECK_THROWS_AS(
      segmenter.segment(image.view, request, [](const Progress& at) { return at.stage != Progress::Stage::write; }),
      Error);
  nothing();
  const auto refused_name = [&](std::string Request::*field, const std::string& name, const std::string& text) {
    Request wrong = request;
    wrong.*field = name.empty() ? name : folder.file(name);
    CHECK_THROWS_WITH_AS(segmenter.segment(image.view, wrong), doctest::Contains(text.c_str()), Error);
    nothing();
  };
  refused_name(&Request::labels_file, "labels.txt", "labels file: expected a name ending in");
  refused_name(&Request::probabilities_file, "p.txt", "probabilities_file: expected a name ending in");
  refused_name(&Request::preview_file, "p.jpg", "preview_file: expected a name ending in");
  refused_name(&Request::probabilities_file, "labels.nii", "neither the image's nor another output");
  refused_name(&Request::labels_file, "none/labels.nii", "none");
  // The image itself is no output.
  segmenter.segment(image.view, request);
  Request again;
  again.labels_file = folder.file("labels.nii");
  const Model one_channel = e2enet::test::random_model(
      R"({"input_channels": 1, "classes": 2, "base_features": 4, "pool_strides": [[2, 2, 2]],
          "patch_size": [8, 16, 16]})");
  e2enet::Segmenter of_one(one_channel, with_threads(1));
  CHECK_THROWS_WITH_AS(of_one.segment(Image::open(again.labels_file), again),
                       doctest::Contains("neither the image's nor another output"), Error);
}

TEST_CASE("a forecast names the way that is taken, and the limit that suffices") {
  const TestImage image({30, 60, 50});
  Options options = with_threads(2);
  e2enet::Segmenter segmenter(small_model(), options);
  const e2enet::Forecast forecast = segmenter.forecast(image.view);
  CHECK(forecast.fits);
  CHECK(forecast.ways.size() >= 2);
  CHECK(forecast.seconds_a_run > 0);
  CHECK(forecast.seconds_network == doctest::Approx(forecast.seconds_a_run * double(forecast.runs)));
  const Segmentation done = e2enet::Segmenter(small_model(), options).segment(image.view, {});
  CHECK(done.way == forecast.way);
  CHECK(done.runs <= forecast.runs);
  options.memory_limit = 1 << 20;
  e2enet::Segmenter tight(small_model(), options);
  const e2enet::Forecast none = tight.forecast(image.view);
  CHECK_FALSE(none.fits);
  CHECK(none.smallest_limit_bytes > options.memory_limit);
  try {
    tight.segment(image.view, {});
    FAIL_CHECK("was segmented");
  } catch (const Error& error) {
    CHECK(int(error.code()) == int(ErrorCode::memory_limit));
    CHECK(std::string(error.what()).find("memory_limit: expected at least") == 0);
  }
}

TEST_CASE("the caller's own threads do the work, and the bits are the same") {
  const TestImage image({12, 20, 17});
  const Segmentation expected = Segmenter(small_model(), with_threads(2)).segment(image.view);
  Options options = with_threads(2);
  int calls = 0;
  options.parallel_for = [&](int threads, const std::function<void(int)>& body) {
    ++calls;
    std::vector<std::thread> others;
    for (int thread = 1; thread < threads; ++thread) others.emplace_back(body, thread);
    body(0);
    for (std::thread& other : others) other.join();
  };
  Segmenter segmenter(small_model(), options);
  CHECK(same_bits(segmenter.segment(image.view), expected));
  if (segmenter.threads() > 1) CHECK(calls > 0);
}

TEST_CASE("a model from the bytes of its file is the model of the file") {
  const TemporaryFolder folder;
  e2enet::write_random_model(R"({"classes": 3, "input_channels": 2, "base_features": 6, "density": 0.4,
                                 "pool_strides": [[1, 2, 2], [2, 2, 2]], "patch_size": [8, 16, 12]})",
                             "test", 11, folder.file("model"));
  const std::string bytes = e2enet::read_text_file(folder.file("model"));
  const Model of_file = Model::load(folder.file("model"));
  const Model of_bytes = Model::from_bytes(bytes.data(), bytes.size(), "stored");
  CHECK(of_bytes.name() == "stored");
  CHECK(of_bytes.configuration_json() == of_file.configuration_json());
  const TestImage image({9, 17, 13});
  CHECK(same_bits(Segmenter(of_bytes, with_threads(1)).segment(image.view),
                  Segmenter(of_file, with_threads(1)).segment(image.view)));
  for (const std::size_t count : {std::size_t{0}, std::size_t{7}, std::size_t{100}, bytes.size() - 1}) {
    CHECK_THROWS_WITH_AS(Model::from_bytes(bytes.data(), count, "stored"), doctest::Contains("stored"), Error);
  }
  CHECK_THROWS_AS(Model::from_bytes(nullptr, 10), Error);
}

TEST_CASE("an image unlike those that the model was trained on is warned of, one like them is not") {
  // Ranges around what this image is: its extent in mm, the quantiles of its prepared values, any volumes.
  const auto with_ranges = [](const std::string& extents, const std::string& quantiles, const std::string& volumes) {
    return small_model(R"(, "preprocessing": {"spacing": [1, 1, 1]}, "training_images": {"extent_mm": )" + extents +
                       R"(, "input_quantiles": )" + quantiles + R"(, "volumes_ml": )" + volumes + "}");
  };
  const std::string any_extent = "[[1, 100], [1, 100], [1, 100]]";
  const std::string any_channel = "[[-9, 9], [-9, 9], [-9, 9], [-9, 9], [-9, 9]]";
  const std::string any_quantiles = "[" + any_channel + ", " + any_channel + "]";
  const std::string any_volumes = R"({"1": [0, 100], "2": [0, 100]})";
  const TestImage image({20, 30, 26});
  const auto remarks = [&](const Model& model, const e2enet::Geometry& geometry, std::int64_t limit = 0) {
    Options options = with_threads(2);
    options.memory_limit = limit;
    TestView view = image.view;
    view.geometry = geometry;
    std::string text;
    for (const e2enet::Remark& remark : e2enet::Segmenter(model, options).segment(view).remarks) {
      CHECK(remark.warning);
      text += remark.text + "\n";
    }
    return text;
  };
  const e2enet::Geometry& geometry = image.view.geometry;
  CHECK(remarks(with_ranges(any_extent, any_quantiles, any_volumes), geometry) == "");
  const std::string extent =
      remarks(with_ranges("[[1, 100], [45, 60], [1, 100]]", any_quantiles, any_volumes), geometry);
  CHECK(extent.find("it measures 30 mm along the network's H, those 45 to 60 mm") != std::string::npos);
  CHECK(remarks(with_ranges("[[1, 100], [40, 60], [1, 100]]", any_quantiles, any_volumes), geometry) == "");
  const std::string contrast = remarks(
      with_ranges(any_extent, "[" + any_channel + ", [[-9, 9], [-9, 9], [5, 6], [-9, 9], [-9, 9]]]", any_volumes),
      geometry);
  CHECK(contrast.find("75% of the prepared values of channel 1 are below") != std::string::npos);
  CHECK(contrast.find("there 5.00 to 6.00") != std::string::npos);
  const std::string volumes =
      remarks(with_ranges(any_extent, any_quantiles, R"({"1": [0, 100], "2": [500, 600]})"), geometry);
  CHECK(volumes.find("of 1 label: label 2") != std::string::npos);

  // A part that was asked for is not the whole image, and says nothing of it.
  Request boxed;
  boxed.box = e2enet::Box{{0, 0, 0}, {10, 10, 10}};
  const Model strict = with_ranges("[[900, 901], [900, 901], [900, 901]]", any_quantiles, any_volumes);
  CHECK(e2enet::Segmenter(strict, with_threads(1)).segment(image.view, boxed).remarks.empty());
}

TEST_CASE("the network works in the caller's arena, within it, and with the same bits") {
  const Model model = small_model();
  const TestImage image({8, 16, 12});
  std::vector<float> patch;
  for (const auto& channel : image.channels) patch.insert(patch.end(), channel.begin(), channel.end());
  for (const int threads : {1, 2}) {
    for (const auto precision : {e2enet::Precision::f32, e2enet::Precision::bf16}) {
      PatchOptions options;
      options.threads = threads;
      options.precision = precision;
      std::vector<float> expected(3 * image.voxels()), found(expected.size());
      PatchRunner(model, options).run(patch.data(), expected.data());

      const std::size_t needed = e2enet::arena_bytes(model, options);
      constexpr std::size_t kGuard = 4096;
      std::vector<unsigned char> memory(needed + 2 * kGuard + 64, 0xA5);
      const auto address = reinterpret_cast<std::uintptr_t>(memory.data()) + kGuard;
      unsigned char* const arena = memory.data() + kGuard + (64 - address % 64) % 64;
      options.arena = {arena, needed};
      {
        PatchRunner runner(model, options);
        for (int run = 0; run < 2; ++run) {
          runner.run(patch.data(), found.data());
          CHECK(std::memcmp(found.data(), expected.data(), expected.size() * sizeof(float)) == 0);
        }
      }
      const auto untouched = [](unsigned char byte) { return byte == 0xA5; };
      CHECK(std::all_of(memory.data(), arena, untouched));
      CHECK(std::all_of(arena + needed, memory.data() + memory.size(), untouched));
      CHECK_FALSE(std::all_of(arena, arena + needed, untouched));

      options.arena = {arena, needed - 1};
      CHECK_THROWS_WITH_AS(PatchRunner(model, options), doctest::Contains("arena: expected at least"), Error);
      options.arena = {arena + 8, needed};
      CHECK_THROWS_WITH_AS(PatchRunner(model, options), doctest::Contains("arena: expected memory at a multiple of 64"),
                           Error);
      Options of_segmenter = with_threads(threads);
      of_segmenter.precision = precision;
      const Segmentation whole = Segmenter(model, of_segmenter).segment(image.view);
      of_segmenter.arena = {arena, needed};
      CHECK(same_bits(Segmenter(model, of_segmenter).segment(image.view), whole));
    }
  }
}
