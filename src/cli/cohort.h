// Many cases looked at together: the records of a cohort as one table, and which cases are unlike the others.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace e2enet::cli {

// A volume this many robust deviations from the cohort's median is an outlier. A robust deviation is 1.4826 times the
// median of the absolute deviations from the median: the standard deviation, where volumes are normally distributed.
constexpr double kOutlierDeviations = 4;
// Of fewer volumes a deviation says nothing.
constexpr std::size_t kFewestForDeviation = 5;

struct Outlier {
  int label = 0;
  bool missing = false;   // most cases have the structure and this one has not
  double deviations = 0;  // else: above the median, or below if negative
};

struct CohortCase {
  std::string name;
  nlohmann::ordered_json record;  // null: none, the case was not begun
  std::map<int, double> ml;       // of a case that is done
  std::vector<Outlier> outliers;

  std::string status() const;  // the record's, or "not begun"
  bool done() const;
};

struct CohortStructure {
  std::string name;
  std::size_t segmented = 0;  // cases in which it was looked for
  std::size_t cases = 0;      // that have it
  double median_ml = 0;       // of these
  double robust_deviation_ml = 0;
};

class Cohort {
 public:
  // Cases in any order; the table is by name.
  explicit Cohort(std::vector<CohortCase> cases);

  const std::vector<CohortCase>& cases() const { return cases_; }
  const std::map<int, CohortStructure>& structures() const { return structures_; }
  std::size_t count(const std::string& status) const;
  // How many of the cases that are done have each value of a record's field: models, versions, instruction sets.
  std::map<std::string, std::size_t> values_of(const std::string& field) const;

  std::string tsv() const;
  nlohmann::ordered_json json() const;
  // "Hippocampus missing; Amygdala 5.2 robust deviations above the median"; "" where there is none.
  std::string outliers_text(const CohortCase& one) const;

 private:
  void find_structures();
  void find_outliers();
  std::string heading(int label) const;

  std::vector<CohortCase> cases_;
  std::map<int, CohortStructure> structures_;
};

}  // namespace e2enet::cli
