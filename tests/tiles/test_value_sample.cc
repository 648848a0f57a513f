// The sample of the network's input is the same whatever is held of the volume.
#include "tiles/value_sample.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace {

using e2enet::Shape;
using e2enet::tiles::ValueSample;

TEST_CASE("a sample has the volume's quantiles, in whatever windows its slices come") {
  for (const Shape& shape : {Shape{1, 1, 1}, Shape{7, 5, 3}, Shape{40, 61, 53}}) {
    const std::int64_t voxels = shape[0] * shape[1] * shape[2], slice = shape[1] * shape[2];
    std::mt19937 random(3);
    std::vector<float> values(std::size_t(2 * voxels));
    for (float& value : values) value = float(random() % 1000) - 300;
    ValueSample whole(shape, 2);
    whole.take(0, shape[0], values.data(), voxels);
    const auto expected = whole.quantiles();
    REQUIRE(expected.size() == 2);
    for (std::size_t channel = 0; channel < 2; ++channel) {
      std::vector<float> sorted(values.begin() + std::ptrdiff_t(channel) * voxels,
                                values.begin() + std::ptrdiff_t(channel + 1) * voxels);
      std::sort(sorted.begin(), sorted.end());
      for (std::size_t q = 0; q < 5; ++q) {
        const double rank = e2enet::model::kInputPercentages[q] / 100 * double(voxels - 1);
        CHECK(std::abs(expected[channel][q] - double(sorted[std::size_t(rank + 0.5)])) <= 15);  // of 1000, one in three
      }
    }
    for (const std::int64_t depth : {1, 2, 5}) {  // windows that overlap by all but a slice
      ValueSample windows(shape, 2);
      for (std::int64_t end = std::min(depth, shape[0]); end <= shape[0]; ++end) {
        const std::int64_t begin = std::max<std::int64_t>(0, end - depth);
        windows.take(begin, end, values.data() + begin * slice, voxels);
      }
      CHECK(windows.quantiles() == expected);
    }
  }
}

}  // namespace
