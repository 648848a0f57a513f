#include "cli/scores_output.h"

#include <cmath>
#include <optional>

#include "cli/text.h"

namespace e2enet::cli {
namespace {

using evaluate::Average;
using evaluate::CaseScores;
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

std::string optional_text(const std::optional<double>& value, int decimals) {
  return value ? fixed(*value, decimals) : "";
}

// JSON has no infinity and no NaN: null stands for a score that does not exist, see docs/metrics.md.
ordered_json number(const std::optional<double>& value) {
  if (!value || !std::isfinite(*value)) return nullptr;
  return *value;
}

// 28, or 28 of 30 where two were not scored.
std::string pairs_text(int scored, int not_scored) {
  return std::to_string(scored) + (not_scored > 0 ? " of " + std::to_string(scored + not_scored) : "");
}

std::string with_spread(double mean, double sd, int count, int decimals) {
  return fixed(mean, decimals) + (count > 1 ? " ± " + fixed(sd, decimals) : "");
}

// Mean and standard deviation under `key` and `key`_sd; null where there is none.
void add_average(ordered_json& entry, const std::string& key, const Average& average) {
  const bool exists = average.count > 0 && average.infinite == 0;
  entry[key] = exists ? ordered_json(average.mean) : ordered_json(nullptr);
  entry[key + "_sd"] = exists ? ordered_json(average.finite_sd) : ordered_json(nullptr);
}

std::string average_text(const Average& average, int decimals) {
  if (average.count == 0) return "";
  const int finite = average.count - average.infinite;
  if (average.infinite == 0) return with_spread(average.mean, average.finite_sd, finite, decimals);
  if (finite == 0) return "inf";
  return "inf (" + std::to_string(average.infinite) + " of " + std::to_string(average.count) + ", else " +
         with_spread(average.finite_mean, average.finite_sd, finite, decimals) + ")";
}

std::string mean_hd95_text(const Summary& summary, int decimals) {
  const std::string text = optional_text(summary.mean_hd95, decimals);
  if (summary.hd95_infinite == 0) return text;
  return text + " (" + std::to_string(summary.hd95_infinite) + " of " + std::to_string(summary.pairs) + ")";
}

}  // namespace

ordered_json label_summary_json(const evaluate::LabelSummary& summary) {
  ordered_json entry;
  add_average(entry, "dice", summary.dice);
  add_average(entry, "nsd", summary.nsd);
  add_average(entry, "hd95", summary.hd95);
  entry["hd95_infinite"] = summary.hd95.infinite;
  const bool finite = summary.hd95.count > summary.hd95.infinite;
  entry["hd95_finite"] = finite ? ordered_json(summary.hd95.finite_mean) : ordered_json(nullptr);
  entry["cases_scored"] = summary.dice.count;
  entry["cases_not_scored"] = summary.not_scored;
  return entry;
}

ordered_json means_json(const Summary& summary) {
  ordered_json json;
  json["mean_dice"] = number(summary.mean_dice);
  json["mean_nsd"] = number(summary.mean_nsd);
  json["mean_hd95"] = number(summary.mean_hd95);
  json["pairs_scored"] = summary.pairs;
  json["pairs_not_scored"] = summary.not_scored;
  json["hd95_infinite"] = summary.hd95_infinite;
  return json;
}

std::vector<std::string> geometry_warnings(const std::vector<ScoredCase>& cases, const std::string& volume,
                                           const std::string& reference) {
  std::vector<std::string> lines;
  for (const ScoredCase& one : cases) {
    if (one.geometry.match == evaluate::GeometryMatch::same) continue;
    lines.push_back("warning: case " + one.name + ": " + volume + " and " + reference +
                    " differ in where they lie in space (" + one.geometry.difference +
                    "); voxels of the same index are compared, with the reference's spacing");
  }
  return lines;
}

std::string scores_table(const std::vector<ScoredCase>& cases, const std::map<int, std::string>& names) {
  const Summary summary = summary_of(cases);
  Table table({{"label", Align::left}, {"Dice"}, {"NSD"}, {"HD95 mm"}, {"mL"}, {"reference mL"}, {"cases"}});
  for (const auto& [label, scores] : summary.labels) {
    table.add({label_text(label, names), average_text(scores.dice, 4), average_text(scores.nsd, 4),
               average_text(scores.hd95, 2), average_text(scores.prediction_ml, 3),
               average_text(scores.reference_ml, 3), pairs_text(scores.dice.count, scores.not_scored)});
  }
  table.add_rule();
  table.add({"mean", optional_text(summary.mean_dice, 4), optional_text(summary.mean_nsd, 4),
             mean_hd95_text(summary, 2), "", "", pairs_text(summary.pairs, summary.not_scored)});
  return table.text();
}

std::string scores_csv(const std::vector<ScoredCase>& cases, const std::map<int, std::string>& names) {
  std::string csv =
      "case,label,name,dice,nsd,hd95_mm,prediction_voxels,reference_voxels,prediction_ml,reference_ml,"
      "geometry_differs\n";
  for (const ScoredCase& one : cases) {
    const std::string difference = csv_field(one.geometry.difference);
    for (const auto& [label, score] : one.scores) {
      csv += csv_field(one.name) + "," + std::to_string(label) + "," + csv_field(name_of(label, names)) + "," +
             optional_text(score.dice, 6) + "," + optional_text(score.nsd, 6) + "," + optional_text(score.hd95, 4) +
             "," + std::to_string(score.prediction_voxels) + "," + std::to_string(score.reference_voxels) + "," +
             fixed(score.prediction_ml, 6) + "," + fixed(score.reference_ml, 6) + "," + difference + "\n";
    }
  }
  return csv;
}

ordered_json scores_json(const std::vector<ScoredCase>& cases, const std::map<int, std::string>& names) {
  const Summary summary = summary_of(cases);
  ordered_json json = means_json(summary);
  json["geometry_differs"] = false;
  json["labels"] = ordered_json::object();
  for (const auto& [label, scores] : summary.labels) {
    ordered_json& entry = json["labels"][std::to_string(label)];
    if (!name_of(label, names).empty()) entry["name"] = name_of(label, names);
    entry.update(label_summary_json(scores));
    entry["prediction_ml"] = scores.prediction_ml.mean;
    entry["reference_ml"] = scores.reference_ml.mean;
  }
  json["cases"] = ordered_json::array();
  for (const ScoredCase& one : cases) {
    ordered_json entry;
    entry["case"] = one.name;
    const bool differs = one.geometry.match != evaluate::GeometryMatch::same;
    entry["geometry_differs"] = differs;
    if (differs) {
      entry["geometry_difference"] = one.geometry.difference;
      json["geometry_differs"] = true;
    }
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
