#include "tiles/value_sample.h"

#include <algorithm>
#include <cmath>

namespace e2enet::tiles {
namespace {

constexpr std::int64_t kMostValues = 50000;  // of a channel; their quantiles are near enough

}  // namespace

ValueSample::ValueSample(const Shape& volume, int channels)
    : slice_voxels_(volume[1] * volume[2]),
      // Odd, so that it does not keep to a few columns of the volume.
      step_(std::max<std::int64_t>(volume[0] * slice_voxels_ / kMostValues, 1) | 1),
      channels_(static_cast<std::size_t>(channels)) {}

void ValueSample::take(std::int64_t begin, std::int64_t end, const float* values, std::int64_t channel_stride) {
  if (end <= next_slice_) return;
  const std::int64_t first = begin * slice_voxels_, last = end * slice_voxels_;
  for (; next_voxel_ < last; next_voxel_ += step_) {
    for (std::size_t channel = 0; channel < channels_.size(); ++channel) {
      channels_[channel].push_back(values[static_cast<std::int64_t>(channel) * channel_stride + next_voxel_ - first]);
    }
  }
  next_slice_ = end;
}

std::vector<model::InputQuantiles> ValueSample::quantiles() {
  std::vector<model::InputQuantiles> result;
  for (std::vector<float>& sample : channels_) {
    std::sort(sample.begin(), sample.end());
    model::InputQuantiles of_channel{};
    for (std::size_t q = 0; q < of_channel.size() && !sample.empty(); ++q) {
      const double rank = model::kInputPercentages[q] / 100 * static_cast<double>(sample.size() - 1);
      of_channel[q] = static_cast<double>(sample[static_cast<std::size_t>(std::lround(rank))]);
    }
    result.push_back(of_channel);
  }
  return result;
}

}  // namespace e2enet::tiles
