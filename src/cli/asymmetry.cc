#include "cli/asymmetry.h"

#include "cli/text.h"

namespace e2enet::cli {

std::optional<double> Asymmetry::percent() const {
  const double sum = left_ml + right_ml;
  if (!(sum > 0)) return std::nullopt;
  return (left_ml - right_ml) / (sum / 2) * 100;
}

std::vector<Asymmetry> asymmetries(const std::vector<report::SidePair>& pairs,
                                   const std::map<int, LabelStatistics>& statistics) {
  const auto ml = [&](int label) {
    const auto found = statistics.find(label);
    return found == statistics.end() ? 0.0 : found->second.ml;
  };
  std::vector<Asymmetry> result;
  for (const report::SidePair& pair : pairs) result.push_back({pair, ml(pair.left), ml(pair.right)});
  return result;
}

nlohmann::ordered_json asymmetry_json(const std::vector<Asymmetry>& asymmetries) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Asymmetry& one : asymmetries) {
    nlohmann::ordered_json entry;
    entry["structure"] = one.pair.structure;
    entry["left_label"] = one.pair.left;
    entry["right_label"] = one.pair.right;
    entry["left_ml"] = one.left_ml;
    entry["right_ml"] = one.right_ml;
    entry["asymmetry_percent"] = nullptr;
    if (const std::optional<double> percent = one.percent()) entry["asymmetry_percent"] = *percent;
    json.push_back(entry);
  }
  return json;
}

std::string asymmetry_table(const std::vector<Asymmetry>& asymmetries) {
  Table table({{"structure", Align::left}, {"left mL"}, {"right mL"}, {"(left - right) / mean"}});
  for (const Asymmetry& one : asymmetries) {
    const std::optional<double> percent = one.percent();
    table.add({one.pair.structure, fixed(one.left_ml, 3), fixed(one.right_ml, 3),
               percent ? fixed(*percent, 1) + "%" : std::string("-")});
  }
  return table.text();
}

}  // namespace e2enet::cli
