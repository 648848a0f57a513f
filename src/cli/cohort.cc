#include "cli/cohort.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "cli/case_record.h"
#include "cli/text.h"

namespace e2enet::cli {
namespace {

using nlohmann::ordered_json;

constexpr char kNotAvailable[] = "n/a";  // as BIDS writes it
constexpr double kNormal = 1.4826;  // standard deviation of a normal distribution, by its median absolute deviation

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

// What a table in plain text can hold: no tab, no end of line.
std::string tsv_field(const std::string& text) { return text.empty() ? kNotAvailable : one_line(valid_utf8(text)); }

std::string text_field(const ordered_json& record, const char* key) {
  return record.is_object() && record.contains(key) && record[key].is_string() ? record[key].get<std::string>() : "";
}

double number_field(const ordered_json& record, const char* key) {
  return record.is_object() && record.contains(key) && record[key].is_number() ? record[key].get<double>() : -1;
}

// What went wrong with a case that is not done.
std::string error_of(const CohortCase& one) {
  if (one.done()) return "";
  const std::string error = text_field(one.record, "error");
  if (one.status() == record_status::kRunning) {
    return "begun " + text_field(one.record, "started") + " on " + text_field(one.record, "host") +
           ", and under way or broken off";
  }
  return error;
}

ordered_json counts_json(const std::map<std::string, std::size_t>& counts) {
  ordered_json json = ordered_json::object();
  for (const auto& [value, count] : counts) json[value] = count;
  return json;
}

}  // namespace

std::string CohortCase::status() const {
  return record.is_object() ? record["status"].get<std::string>() : std::string("not begun");
}

bool CohortCase::done() const { return status() == record_status::kDone; }

Cohort::Cohort(std::vector<CohortCase> cases) : cases_(std::move(cases)) {
  std::sort(cases_.begin(), cases_.end(), [](const CohortCase& a, const CohortCase& b) { return a.name < b.name; });
  find_structures();
  find_outliers();
}

void Cohort::find_structures() {
  for (CohortCase& one : cases_) {
    if (!one.done() || !one.record.contains("labels") || !one.record["labels"].is_object()) continue;
    for (const auto& [value, of_label] : one.record["labels"].items()) {
      const int label = std::atoi(value.c_str());
      if (label <= 0 || !of_label.is_object()) continue;
      one.ml[label] = std::max(0.0, number_field(of_label, "ml"));
      CohortStructure& structure = structures_[label];
      structure.name = text_field(of_label, "name");
      ++structure.segmented;
    }
  }
  for (auto& [label, structure] : structures_) {
    std::vector<double> volumes;
    for (const CohortCase& one : cases_) {
      const auto found = one.ml.find(label);
      if (found != one.ml.end() && found->second > 0) volumes.push_back(found->second);
    }
    structure.cases = volumes.size();
    if (volumes.empty()) continue;
    structure.median_ml = median_of(volumes);
    for (double& volume : volumes) volume = std::abs(volume - structure.median_ml);
    structure.robust_deviation_ml = kNormal * median_of(volumes);
  }
}

void Cohort::find_outliers() {
  for (CohortCase& one : cases_) {
    for (const auto& [label, ml] : one.ml) {
      const CohortStructure& structure = structures_.at(label);
      if (ml == 0) {
        if (2 * structure.cases > structure.segmented) one.outliers.push_back({label, true, 0});
        continue;
      }
      if (structure.cases < kFewestForDeviation || structure.robust_deviation_ml <= 0) continue;
      const double deviations = (ml - structure.median_ml) / structure.robust_deviation_ml;
      if (std::abs(deviations) > kOutlierDeviations) one.outliers.push_back({label, false, deviations});
    }
  }
}

std::size_t Cohort::count(const std::string& status) const {
  return static_cast<std::size_t>(
      std::count_if(cases_.begin(), cases_.end(), [&](const CohortCase& one) { return one.status() == status; }));
}

std::map<std::string, std::size_t> Cohort::values_of(const std::string& field) const {
  std::map<std::string, std::size_t> counts;
  for (const CohortCase& one : cases_) {
    if (one.done()) ++counts[text_field(one.record, field.c_str())];
  }
  return counts;
}

std::string Cohort::heading(int label) const {
  const CohortStructure& structure = structures_.at(label);
  const auto same = std::count_if(structures_.begin(), structures_.end(),
                                  [&](const auto& other) { return other.second.name == structure.name; });
  return (structure.name.empty() || same > 1 ? structure.name + std::to_string(label) : structure.name) + "_ml";
}

std::string Cohort::outliers_text(const CohortCase& one) const {
  std::string text;
  for (const Outlier& outlier : one.outliers) {
    text += (text.empty() ? "" : "; ") + structures_.at(outlier.label).name;
    text += outlier.missing ? std::string(" missing")
                            : " " + fixed(std::abs(outlier.deviations), 1) + " robust deviations " +
                                  (outlier.deviations > 0 ? "above" : "below") + " the median";
  }
  return text;
}

std::string Cohort::tsv() const {
  std::string text = "case\tstatus\terror";
  for (const auto& [label, structure] : structures_) text += "\t" + tsv_field(heading(label));
  text += "\toutliers\tseconds\tpeak_mib\tmodel_sha256\tversion\tinstruction_set\n";
  for (const CohortCase& one : cases_) {
    text += tsv_field(one.name) + "\t" + one.status() + "\t" + tsv_field(error_of(one));
    for (const auto& [label, structure] : structures_) {
      const auto found = one.ml.find(label);
      text += "\t" + (found != one.ml.end() ? fixed(found->second, 3) : std::string(kNotAvailable));
    }
    const double seconds = number_field(one.record, "seconds"), peak = number_field(one.record, "peak_bytes");
    text += "\t" + tsv_field(outliers_text(one));
    text += "\t" + (seconds >= 0 ? fixed(seconds, 3) : std::string(kNotAvailable));
    text += "\t" + (peak >= 0 ? fixed(peak / (1 << 20), 1) : std::string(kNotAvailable));
    for (const char* key : {"model_sha256", "version", "instruction_set"}) {
      text += "\t" + tsv_field(text_field(one.record, key));
    }
    text += "\n";
  }
  return text;
}

ordered_json Cohort::json() const {
  ordered_json json;
  json["cases"] = cases_.size();
  for (const char* status :
       {record_status::kDone, record_status::kFailed, record_status::kRunning, record_status::kInterrupted}) {
    json[std::string("cases_") + status] = count(status);
  }
  json["cases_not_begun"] = count("not begun");
  json["cases_with_outliers"] =
      std::count_if(cases_.begin(), cases_.end(), [](const CohortCase& one) { return !one.outliers.empty(); });
  double seconds = 0, peak = 0, bytes = 0;
  for (const CohortCase& one : cases_) {
    seconds += std::max(0.0, number_field(one.record, "seconds"));
    peak = std::max(peak, number_field(one.record, "peak_bytes"));
    if (!one.record.is_object() || !one.record.contains("inputs")) continue;
    for (const ordered_json& input : one.record["inputs"]) bytes += std::max(0.0, number_field(input, "bytes"));
  }
  json["seconds"] = seconds;
  json["peak_bytes"] = static_cast<std::int64_t>(peak);
  json["input_bytes"] = static_cast<std::int64_t>(bytes);
  json["models"] = counts_json(values_of("model_sha256"));
  json["versions"] = counts_json(values_of("version"));
  json["instruction_sets"] = counts_json(values_of("instruction_set"));
  json["structures"] = ordered_json::object();
  for (const auto& [label, structure] : structures_) {
    json["structures"][std::to_string(label)] = {{"name", structure.name},
                                                 {"cases", structure.cases},
                                                 {"median_ml", structure.median_ml},
                                                 {"robust_deviation_ml", structure.robust_deviation_ml}};
  }
  json["table"] = ordered_json::array();
  for (const CohortCase& one : cases_) {
    ordered_json row = {{"case", one.name}, {"status", one.status()}};
    const std::string error = error_of(one);
    row["error"] = error.empty() ? ordered_json() : ordered_json(error);
    row["ml"] = ordered_json::object();
    for (const auto& [label, ml] : one.ml) row["ml"][std::to_string(label)] = ml;
    row["outliers"] = ordered_json::array();
    for (const Outlier& outlier : one.outliers) {
      row["outliers"].push_back(
          {{"label", outlier.label},
           {"name", structures_.at(outlier.label).name},
           {"missing", outlier.missing},
           {"robust_deviations", outlier.missing ? ordered_json() : ordered_json(outlier.deviations)}});
    }
    for (const char* key : {"seconds", "peak_bytes", "planned_peak_bytes", "tries", "host", "model_sha256", "version",
                            "instruction_set", "options", "inputs", "images", "labels_file"}) {
      row[key] = one.record.is_object() && one.record.contains(key) ? one.record[key] : ordered_json();
    }
    json["table"].push_back(std::move(row));
  }
  return json;
}

}  // namespace e2enet::cli
