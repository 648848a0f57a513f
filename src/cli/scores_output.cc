#include "cli/scores_output.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "cli/text.h"
#include "e2enet/json.h"

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

// 28, or 28 of 30 where two were not scored.
std::string pairs_text(int scored, int not_scored) {
  return std::to_string(scored) + (not_scored > 0 ? " of " + std::to_string(scored + not_scored) : "");
}

std::string with_spread(double mean, double sd, int count, int decimals) {
  return fixed(mean, decimals) + (count > 1 ? " ± " + fixed(sd, decimals) : "");
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
  ordered_json json = parsed(summary_json(summary_of(cases), names));
  ordered_json labels = std::move(json["labels"]);
  json.erase("labels");
  json["geometry_differs"] = false;
  json["labels"] = std::move(labels);
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
    entry["labels"] = parsed(e2enet::scores_json(one.scores));
    json["cases"].push_back(std::move(entry));
  }
  return json;
}

}  // namespace e2enet::cli
