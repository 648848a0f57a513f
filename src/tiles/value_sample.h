// What the values of the network's input are like: a sample of them, and its quantiles.
#pragma once

#include <cstdint>
#include <vector>

#include "e2enet/volume.h"
#include "model/training_images.h"

namespace e2enet::tiles {

// Takes every so many voxels of the volume, in the order of its slices, however they are grouped: the same sample
// whatever is held of it.
class ValueSample {
 public:
  ValueSample(const Shape& volume, int channels);

  // Slices [begin, end) of all channels, `channel_stride` values apart; those that were taken before are passed over.
  void take(std::int64_t begin, std::int64_t end, const float* values, std::int64_t channel_stride);

  // One entry a channel. Sorts the sample.
  std::vector<model::InputQuantiles> quantiles();

 private:
  std::int64_t slice_voxels_;
  std::int64_t step_;
  std::int64_t next_slice_ = 0;
  std::int64_t next_voxel_ = 0;  // of the volume
  std::vector<std::vector<float>> channels_;
};

}  // namespace e2enet::tiles
