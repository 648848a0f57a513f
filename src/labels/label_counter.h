// Counts what the labels are, as they pass.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "e2enet/statistics.h"
#include "e2enet/volume.h"
#include "image/slice_source.h"

namespace e2enet::imaging {

class LabelCounter {
 public:
  LabelCounter() : counts_(65536, 0) {}
  void count(const std::uint16_t* labels, std::int64_t voxels);

  // Of every label in `names` and every other value that occurred, without the background.
  std::map<int, LabelStatistics> statistics(const Geometry& geometry, const std::map<int, std::string>& names) const;

 private:
  std::vector<std::int64_t> counts_;
};

// Fills in mean_intensity; NaN voxels do not count. Reads each channel once, a slice at a time.
void add_mean_intensities(const std::vector<SliceSource*>& channels, const Shape& shape, const std::uint16_t* labels,
                          std::map<int, LabelStatistics>& statistics);

// Of each pair, in its order. A label that is not in `statistics` has no voxels.
std::vector<Asymmetry> asymmetries(const std::vector<SidePair>& pairs,
                                   const std::map<int, LabelStatistics>& statistics);

}  // namespace e2enet::imaging
