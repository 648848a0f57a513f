// Scores of `evaluate` and `tradeoff` as table, CSV and JSON.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evaluate/metrics.h"

namespace e2enet::cli {

struct ScoredCase {
  std::string name;
  evaluate::CaseScores scores;
};

// Rows: labels (mean over cases with standard deviation), then the mean over labels.
std::string scores_table(const std::vector<ScoredCase>& cases, const std::map<int, std::string>& names);

// One line per case and label.
std::string scores_csv(const std::vector<ScoredCase>& cases, const std::map<int, std::string>& names);

nlohmann::ordered_json scores_json(const std::vector<ScoredCase>& cases, const std::map<int, std::string>& names);

}  // namespace e2enet::cli
