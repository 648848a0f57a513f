// Scores of `evaluate` and `tradeoff` as table, CSV and JSON.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "e2enet/evaluate.h"

namespace e2enet::cli {

struct ScoredCase {
  std::string name;
  evaluate::CaseScores scores;
  evaluate::GeometryComparison geometry;  // of the prediction with the reference
};

// For each case whose volumes do not lie on the same voxels a line that says so. `volume` and `reference` name the two.
std::vector<std::string> geometry_warnings(const std::vector<ScoredCase>& cases, const std::string& volume,
                                           const std::string& reference);

// Rows: labels (mean over cases with standard deviation), then the mean over labels. The last column counts the cases
// behind a label's means, and in the last row all pairs of label and case.
std::string scores_table(const std::vector<ScoredCase>& cases, const std::map<int, std::string>& names);

// One line per case and label.
std::string scores_csv(const std::vector<ScoredCase>& cases, const std::map<int, std::string>& names);

nlohmann::ordered_json scores_json(const std::vector<ScoredCase>& cases, const std::map<int, std::string>& names);

}  // namespace e2enet::cli
