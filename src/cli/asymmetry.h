// How the left and the right of a structure differ in volume.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/segmented_case.h"
#include "report/label_sides.h"

namespace e2enet::cli {

struct Asymmetry {
  report::SidePair pair;
  double left_ml = 0;
  double right_ml = 0;

  // (left - right) / mean of both, in percent: from -200 (only the right one was found) to 200. None where neither was.
  std::optional<double> percent() const;
};

// Of each pair, in its order. A label that is not in `statistics` has no voxels.
std::vector<Asymmetry> asymmetries(const std::vector<report::SidePair>& pairs,
                                   const std::map<int, LabelStatistics>& statistics);

// [{"structure", "left_label", "right_label", "left_ml", "right_ml", "asymmetry_percent"}, ...]; the last is null where
// it is not defined.
nlohmann::ordered_json asymmetry_json(const std::vector<Asymmetry>& asymmetries);

// A table for people.
std::string asymmetry_table(const std::vector<Asymmetry>& asymmetries);

}  // namespace e2enet::cli
