// What the images were like that a model was trained on, as far as its file says: to tell when one is unlike them.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "e2enet/volume.h"

namespace e2enet::model {

// The smallest and the largest among the training cases.
struct Range {
  double low = 0;
  double high = 0;
};

// Of the network's input: these percentages of its voxels are below each quantile.
constexpr std::array<double, 5> kInputPercentages = {25, 50, 75, 90, 99};
using InputQuantiles = std::array<double, kInputPercentages.size()>;

struct TrainingImages {
  std::array<Range, 3> extent_mm;  // of what is left of an image when its empty borders are cut off; network's D, H, W
  std::vector<std::array<Range, kInputPercentages.size()>> quantiles;  // one a channel, of the prepared values
  std::map<int, Range> volumes_ml;                                     // label value -> volume
};

// What of an image and its labels lies outside of what training had, a line each: "the image measures 88 mm along the
// network's D; training images 150 to 190 mm". Extents a quarter beyond, quantiles half of their range (and at least a
// quarter of a standard deviation) beyond and volumes a factor of two beyond still count as alike. `names` say what the
// labels are; `quantiles` has one entry a channel.
std::vector<std::string> differences(const TrainingImages& training, const std::array<double, 3>& extent_mm,
                                     const std::vector<InputQuantiles>& quantiles,
                                     const std::map<int, double>& volumes_ml, const std::map<int, std::string>& names);

}  // namespace e2enet::model
