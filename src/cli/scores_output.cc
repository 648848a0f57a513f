#include "cli/scores_output.h"

#include <cmath>
#include <optional>

#include "cli/text.h"

namespace e2enet::cli {
namespace {

using evaluate::Average;
using evaluate::CaseScores;
using evaluate::LabelScore;
using evaluate::Summary;
using nlohmann::ordered_json;

Summary summary_of(const std::vector<ScoredCase>& cases) {
  std::vector<CaseScores> scores;
  for (const ScoredCase& one : cases) scores.push_back(one.scores);
  return evaluate::summarize(scores);
}

std::string name_of(int label, const std::map<int, std::string>& names) {
  const auto found = names.find(label);
  return found == names.end() ? "" : found->second;
}

std::string label_text(int label, const std::map<int, std::string>& names) {
  const std::string name = name_of(label, names);
  return std::to_string(label) + (name.empty() ? "" : " " + name);
}

std::string average_text(const Average& average, int decimals) {
  if (average.count == 0) return average.left_out > 0 ? "inf" : "";
  std::string text = fixed(average.mean, decimals);
  if (average.count > 1) text += " ± " + fixed(average.sd, decimals);
  if (average.left_out > 0) text += " (" + std::to_string(average.left_out) + " inf)";
  return text;
}

std::string optional_text(const std::optional<double>& value, int decimals) {
  return value ? fixed(*value, decimals) : "";
}

// JSON has no infinity and no NaN: null stands for a score that does not exist, see docs/metrics.md.
ordered_json number(const std::optional<double>& value) {
  if (!value || !std::isfinite(*value)) return nullptr;
  return *value;
}

ordered_json mean_of(const Average& average) {
  if (average.count == 0) return nullptr;
  return average.mean;
}

ordered_json sd_of(const Average& average) {
  if (average.count == 0) return nullptr;
  return average.sd;
}

}  // namespace

std::string scores_table(const std::vector<ScoredCase>& cases, const std::map<int, std::string>& names) {
  const Summary summary = summary_of(cases);
  Table table({{"label", Align::left}, {"Dice"}, {"NSD"}, {"HD95 mm"}, {"mL"}, {"reference mL"}, {"cases"}});
  for (const auto& [label, scores] : summary.labels) {
    table.add({label_text(label, names), average_text(scores.dice, 4), average_text(scores.nsd, 4),
               average_text(scores.hd95, 2), average_text(scores.prediction_ml, 3),
               average_text(scores.reference_ml, 3), std::to_string(scores.dice.count)});
  }
  table.add_rule();
  table.add({"mean", optional_text(summary.mean_dice, 4), optional_text(summary.mean_nsd, 4),
             optional_text(summary.mean_hd95, 2), "", "", ""});
  return table.text();
}

std::string scores_csv(const std::vector<ScoredCase>& cases, const std::map<int, std::string>& names) {
  std::string csv = "case,label,name,dice,nsd,hd95_mm,prediction_voxels,reference_voxels,prediction_ml,reference_ml\n";
  for (const ScoredCase& one : cases) {
    for (const auto& [label, score] : one.scores) {
      csv += csv_field(one.name) + "," + std::to_string(label) + "," + csv_field(name_of(label, names)) + "," +
             optional_text(score.dice, 6) + "," + optional_text(score.nsd, 6) + "," + optional_text(score.hd95, 4) +
             "," + std::to_string(score.prediction_voxels) + "," + std::to_string(score.reference_voxels) + "," +
             fixed(score.prediction_ml, 6) + "," + fixed(score.reference_ml, 6) + "\n";
    }
  }
  return csv;
}

ordered_json scores_json(const std::vector<ScoredCase>& cases, const std::map<int, std::string>& names) {
  const Summary summary = summary_of(cases);
  ordered_json json;
  json["mean_dice"] = number(summary.mean_dice);
  json["mean_nsd"] = number(summary.mean_nsd);
  json["mean_hd95"] = number(summary.mean_hd95);
  json["labels"] = ordered_json::object();
  for (const auto& [label, scores] : summary.labels) {
    ordered_json& entry = json["labels"][std::to_string(label)];
    if (!name_of(label, names).empty()) entry["name"] = name_of(label, names);
    entry["dice"] = mean_of(scores.dice);
    entry["dice_sd"] = sd_of(scores.dice);
    entry["nsd"] = mean_of(scores.nsd);
    entry["nsd_sd"] = sd_of(scores.nsd);
    entry["hd95"] = mean_of(scores.hd95);
    entry["hd95_sd"] = sd_of(scores.hd95);
    entry["hd95_infinite"] = scores.hd95.left_out;
    entry["prediction_ml"] = mean_of(scores.prediction_ml);
    entry["reference_ml"] = mean_of(scores.reference_ml);
    entry["cases_scored"] = scores.dice.count;
  }
  json["cases"] = ordered_json::array();
  for (const ScoredCase& one : cases) {
    ordered_json entry;
    entry["case"] = one.name;
    entry["labels"] = ordered_json::object();
    for (const auto& [label, score] : one.scores) {
      ordered_json& of_label = entry["labels"][std::to_string(label)];
      of_label["dice"] = number(score.dice);
      of_label["nsd"] = number(score.nsd);
      of_label["hd95"] = number(score.hd95);
      of_label["hd95_infinite"] = score.hd95 && std::isinf(*score.hd95);
      of_label["prediction_voxels"] = score.prediction_voxels;
      of_label["reference_voxels"] = score.reference_voxels;
      of_label["prediction_ml"] = score.prediction_ml;
      of_label["reference_ml"] = score.reference_ml;
    }
    json["cases"].push_back(std::move(entry));
  }
  return json;
}

}  // namespace e2enet::cli
