#include "labels/label_counter.h"

#include <cmath>

namespace e2enet::imaging {

void LabelCounter::count(const std::uint16_t* labels, std::int64_t voxels) {
  for (std::int64_t i = 0; i < voxels; ++i) ++counts_[labels[i]];
}

std::map<int, LabelStatistics> LabelCounter::statistics(const Geometry& geometry,
                                                        const std::map<int, std::string>& names) const {
  std::map<int, LabelStatistics> statistics;
  for (const auto& [value, name] : names) {
    if (value != 0) statistics[value].name = name;
  }
  for (std::size_t value = 1; value < counts_.size(); ++value) {
    const auto label = static_cast<int>(value);
    if (counts_[value] == 0 && statistics.count(label) == 0) continue;
    LabelStatistics& of_label = statistics[label];
    if (of_label.name.empty()) of_label.name = "label " + std::to_string(label);
    of_label.voxels = counts_[value];
    of_label.ml = static_cast<double>(counts_[value]) * geometry.voxel_ml();
  }
  return statistics;
}

void add_mean_intensities(const std::vector<SliceSource*>& channels, const Shape& shape, const std::uint16_t* labels,
                          std::map<int, LabelStatistics>& statistics) {
  const std::int64_t slice_size = shape[1] * shape[2];
  std::vector<float> slice(static_cast<std::size_t>(slice_size));
  for (SliceSource* channel : channels) {
    std::vector<double> totals(65536, 0);
    std::vector<std::int64_t> counts(65536, 0);
    for (std::int64_t d = 0; d < shape[0]; ++d) {
      channel->read(d, d + 1, slice.data());
      const std::uint16_t* label = labels + d * slice_size;
      for (std::int64_t i = 0; i < slice_size; ++i) {
        const float value = slice[static_cast<std::size_t>(i)];
        if (label[i] == 0 || std::isnan(value)) continue;
        totals[label[i]] += static_cast<double>(value);
        ++counts[label[i]];
      }
    }
    for (auto& [value, of_label] : statistics) {
      const auto at = static_cast<std::size_t>(value);
      if (of_label.voxels > 0) of_label.mean_intensity.push_back(totals[at] / static_cast<double>(counts[at]));
    }
  }
}

std::vector<Asymmetry> asymmetries(const std::vector<SidePair>& pairs,
                                   const std::map<int, LabelStatistics>& statistics) {
  const auto ml = [&](int label) {
    const auto found = statistics.find(label);
    return found == statistics.end() ? 0.0 : found->second.ml;
  };
  std::vector<Asymmetry> result;
  for (const SidePair& pair : pairs) result.push_back({pair, ml(pair.left), ml(pair.right)});
  return result;
}

}  // namespace e2enet::imaging
