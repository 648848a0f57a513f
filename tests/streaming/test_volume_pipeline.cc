// A NIfTI file to labels, against the original's own preprocess, predict and export.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "imaging/nifti_reader.h"
#include "model/model_file.h"
#include "streaming/volume_pipeline.h"
#include "support/npy.h"
#include "support/paths.h"

namespace {

using namespace e2enet;

class KeepLabels : public streaming::LabelSink {
 public:
  explicit KeepLabels(const Shape& shape) : slice_(shape[1] * shape[2]) {
    labels.resize(std::size_t(shape[0] * slice_));
  }
  void consume(std::int64_t first, std::int64_t slices, const std::uint16_t* values) override {
    CHECK(first == next_);
    next_ += slices;
    std::copy_n(values, slices * slice_, labels.begin() + first * slice_);
  }
  std::vector<std::uint16_t> labels;

 private:
  std::int64_t slice_;
  std::int64_t next_ = 0;
};

}  // namespace

TEST_CASE("a NIfTI file's labels equal the original pipeline's") {
  E2ENET_NEEDS_SHARED("golden/e2e");
  const std::string folder = test::shared_path("golden/e2e/");
  imaging::ImageReader reader(folder + "case_0000.nii.gz");
  const auto expected = imaging::read_labels(folder + "case_label.nii.gz");
  const auto network = model::load_model_file(test::source_path("tests/data/networks/net_A.safetensors"));
  std::vector<std::uint16_t> first_labels;
  std::vector<float> first_probabilities;
  for (const int threads : {1, 2, 3}) {
    plan::PlanOptions plan;
    plan.threads = threads;
    engine::Engine engine(network, plan);
    streaming::PipelineOptions options;
    options.threads = threads;
    options.tiling.mirror_axes = {0, 1, 2};
    options.probabilities = true;
    KeepLabels keep(reader.shape());
    const auto result = streaming::segment_volume(engine, reader.geometry(), {&reader}, options, keep, {});
    CHECK(result.network_shape == Shape{24, 80, 100});
    REQUIRE(keep.labels.size() == expected.labels.size());

    const std::size_t voxels = keep.labels.size();
    std::size_t different = 0;
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < voxels; ++i) {
      if (keep.labels[i] == expected.labels[i]) continue;
      ++different;
      // Our own margin between the two answers tells whether rounding can have decided.
      const float margin =
          result.probabilities[keep.labels[i] * voxels + i] - result.probabilities[expected.labels[i] * voxels + i];
      if (margin > 1e-4f) ++wrong;
    }
    MESSAGE(threads << " threads: " << different << " of " << voxels << " labels differ, " << wrong
                    << " beyond rounding");
    CHECK(wrong == 0);
    CHECK(different < 20);

    if (threads == 1) {
      first_labels = keep.labels;
      first_probabilities = result.probabilities;
    }
    CHECK(keep.labels == first_labels);
    CHECK(std::memcmp(result.probabilities.data(), first_probabilities.data(),
                      first_probabilities.size() * sizeof(float)) == 0);
  }
}
