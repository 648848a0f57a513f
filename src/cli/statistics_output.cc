#include "cli/statistics_output.h"

#include <cmath>
#include <optional>

#include "cli/text.h"

namespace e2enet::cli {

nlohmann::ordered_json statistics_json(const std::map<int, LabelStatistics>& statistics, bool with_intensity) {
  const auto number = [](double value) -> nlohmann::ordered_json {
    if (!std::isfinite(value)) return nullptr;
    return value;
  };
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [label, of_label] : statistics) {
    nlohmann::ordered_json& entry = json[std::to_string(label)];
    entry["name"] = of_label.name;
    entry["voxels"] = of_label.voxels;
    entry["ml"] = of_label.ml;
    if (!with_intensity) continue;
    entry["mean_intensity"] = nullptr;
    if (!of_label.mean_intensity.empty()) entry["mean_intensity"] = number(of_label.mean_intensity[0]);
    if (of_label.mean_intensity.size() > 1) {
      for (const double value : of_label.mean_intensity) entry["mean_intensity_per_channel"].push_back(number(value));
    }
  }
  return json;
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
