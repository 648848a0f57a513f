// Volumes of labels, and of left against right, as JSON and as tables.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "e2enet/statistics.h"

namespace e2enet::cli {

// "1": {"name", "voxels", "ml"}, and so on; with mean intensities `mean_intensity`, and `mean_intensity_per_channel`
// where there are several channels.
nlohmann::ordered_json statistics_json(const std::map<int, LabelStatistics>& statistics, bool with_intensity);

// [{"structure", "left_label", "right_label", "left_ml", "right_ml", "asymmetry_percent"}, ...]; the last is null where
// it is not defined.
nlohmann::ordered_json asymmetry_json(const std::vector<Asymmetry>& asymmetries);

// A table for people.
std::string asymmetry_table(const std::vector<Asymmetry>& asymmetries);

}  // namespace e2enet::cli
