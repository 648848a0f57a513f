#include "model/training_images.h"

#include <algorithm>
#include <cstdio>

namespace e2enet::model {
namespace {

std::string number(double value, int decimals) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

std::string range_text(const Range& range, int decimals) {
  return number(range.low, decimals) + " to " + number(range.high, decimals);
}

}  // namespace

std::vector<std::string> differences(const TrainingImages& training, const std::array<double, 3>& extent_mm,
                                     const std::vector<InputQuantiles>& quantiles,
                                     const std::map<int, double>& volumes_ml, const std::map<int, std::string>& names) {
  std::vector<std::string> lines;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const Range& range = training.extent_mm[axis];
    if (extent_mm[axis] >= 0.75 * range.low && extent_mm[axis] <= 1.25 * range.high) continue;
    lines.push_back("unlike the training images: it measures " + number(extent_mm[axis], 0) +
                    " mm along the network's " + "DHW"[axis] + ", those " + range_text(range, 0) + " mm");
  }
  for (std::size_t channel = 0; channel < std::min(quantiles.size(), training.quantiles.size()); ++channel) {
    // The one that is farthest out tells most.
    double worst = 0;
    std::string line;
    for (std::size_t q = 0; q < kInputPercentages.size(); ++q) {
      const Range& range = training.quantiles[channel][q];
      const double margin = std::max(0.5 * (range.high - range.low), 0.25);
      const double beyond =
          std::max(range.low - margin - quantiles[channel][q], quantiles[channel][q] - range.high - margin);
      if (beyond <= worst) continue;
      worst = beyond;
      line = "unlike the training images: " + number(kInputPercentages[q], 0) + "% of the prepared values of channel " +
             std::to_string(channel) + " are below " + number(quantiles[channel][q], 2) + ", there " +
             range_text(range, 2) + " (another contrast, or parts of the image missing?)";
    }
    if (!line.empty()) lines.push_back(line);
  }
  std::string outside;
  int count = 0;
  for (const auto& [label, range] : training.volumes_ml) {
    const auto found = volumes_ml.find(label);
    const double ml = found == volumes_ml.end() ? 0 : found->second;
    if (ml >= 0.5 * range.low && ml <= 2 * range.high) continue;
    constexpr int kNamed = 3;
    if (++count > kNamed) continue;
    const auto name = names.find(label);
    outside += (outside.empty() ? "" : "; ") + (name == names.end() ? "label " + std::to_string(label) : name->second) +
               " " + number(ml, 2) + " mL, there " + range_text(range, 2);
  }
  if (count > 0) {
    lines.push_back("volumes unlike those of the training labels, of " + std::to_string(count) +
                    (count == 1 ? " label: " : " labels: ") + outside + (count > 3 ? "; ..." : ""));
  }
  return lines;
}

}  // namespace e2enet::model
