// What is counted of the labels.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "e2enet/model.h"

namespace e2enet {

struct LabelStatistics {
  std::string name;
  std::int64_t voxels = 0;
  double ml = 0;                       // voxels times the volume of one, by the affine's determinant
  std::vector<double> mean_intensity;  // one a channel; empty where not asked for or without voxels. NaN does not count
};

// How the left and the right of a structure differ in volume.
struct Asymmetry {
  SidePair pair;
  double left_ml = 0;
  double right_ml = 0;

  // (left - right) / mean of both, in percent: from -200 (only the right one was found) to 200. None where neither was.
  std::optional<double> percent() const {
    const double sum = left_ml + right_ml;
    if (!(sum > 0)) return std::nullopt;
    return (left_ml - right_ml) / (sum / 2) * 100;
  }
};

}  // namespace e2enet
