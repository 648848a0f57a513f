// e2enet collect: the records of a cohort in one table.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include "cli/case_list.h"
#include "cli/case_record.h"
#include "cli/cohort.h"
#include "cli/command_files.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/segment_job.h"
#include "cli/text.h"
#include "e2enet/error.h"

namespace e2enet::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr char kDescription[] =
    "Make one table of a cohort, from the records of its cases\n"
    "\n"
    "Usage: e2enet collect FOLDER [FOLDER2 ...] -o COHORT.tsv [OPTIONS]\n"
    "\n"
    "Reads the records that `segment --record` writes (CASE_record.json, in folders within too), whoever wrote them, "
    "in\n"
    "whatever order and while others are still at work, and writes a line a case: status, error, mL of each "
    "structure,\n"
    "seconds, peak memory, SHA-256 of the model, version, instruction set; and the same with all details as "
    "COHORT.json.\n"
    "A case is an outlier where a structure that most cases have is missing, or its volume is more than 4 robust\n"
    "deviations (1.4826 times the median absolute deviation) from the cohort's median. The exit code is 1 where a "
    "case\n"
    "failed or is not done.";

constexpr char kFooter[] =
    "Examples:\n"
    "  e2enet collect records/ -o cohort.tsv\n"
    "  Of all cases of a list, also those that nobody began:\n"
    "    e2enet collect records/ --cases cases.csv -o cohort.tsv";

constexpr std::size_t kMostNamed = 20;

struct Arguments {
  CommonOptions common;
  std::vector<std::string> folders;
  std::string output;
  std::string cases;
};

// Files whose name ends in _record.json, in folders within too.
std::vector<std::string> record_files(const std::string& folder) {
  constexpr char kEnding[] = "_record.json";
  std::vector<std::string> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  for (const fs::recursive_directory_iterator end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const std::size_t length = sizeof kEnding - 1;
    if (name[0] != '.' && name.size() > length && name.compare(name.size() - length, length, kEnding) == 0) {
      files.push_back(entry->path().string());
    }
  }
  if (error) throw Error(ErrorCode::cannot_read, folder + ": cannot be listed: " + error.message());
  return files;
}

// By case, with the file of each; a file that is no record is an error, since its case would be missing.
std::map<std::string, std::pair<std::string, ordered_json>> read_records(const Arguments& arguments,
                                                                         CommandFiles& files) {
  std::map<std::string, std::pair<std::string, ordered_json>> records;
  for (const std::string& folder : arguments.folders) {
    for (const std::string& file : record_files(folder)) {
      stop_if_interrupted();
      files.reads("a record", file);
      ordered_json record = read_record(file);
      if (record.is_null()) {
        throw Error(ErrorCode::cannot_read, file + ": expected a record of `segment --record`, found something else");
      }
      const std::string name = record["case"];
      const auto [other, added] = records.emplace(name, std::pair(file, std::move(record)));
      if (!added && !same_file(other->second.first, file)) {
        throw Error(ErrorCode::cannot_read,
                    "case " + name + ": expected one record, found " + other->second.first + " and " + file);
      }
    }
  }
  return records;
}

void warn_of_mixture(const Cohort& cohort, const std::string& field, const std::string& what) {
  const auto values = cohort.values_of(field);
  if (values.size() < 2) return;
  std::string list;
  for (const auto& [value, count] : values) {
    list += (list.empty() ? "" : ", ") + std::to_string(count) + " with " + (value.empty() ? "none named" : value);
  }
  std::cerr << "e2enet collect: warning: expected one " << what << " for all cases, found " << one_line(list) << "\n";
}

int run(const Arguments& arguments) {
  const std::string tsv = arguments.output, json = fs::path(tsv).replace_extension(".json").string();
  require_ending("--output", tsv, ".tsv");
  CommandFiles files;
  if (!arguments.cases.empty()) files.reads("--cases", arguments.cases);
  auto records = read_records(arguments, files);
  files.writes("--output", tsv);
  files.writes("--output", json);
  files.require_writable();

  std::vector<CohortCase> cases;
  std::size_t elsewhere = 0;
  if (arguments.cases.empty()) {
    if (records.empty()) {
      throw Error(ErrorCode::cannot_read,
                  arguments.folders[0] + ": expected records (CASE_record.json, of `segment --record`), found none");
    }
    for (auto& [name, record] : records) cases.push_back({name, std::move(record.second), {}, {}});
  } else {
    for (const ListedCase& listed : read_case_list(arguments.cases)) {
      const auto found = records.find(valid_utf8(listed.name));
      CohortCase one;
      one.name = listed.name;
      if (found != records.end()) {
        one.record = std::move(found->second.second);
        records.erase(found);
      }
      cases.push_back(std::move(one));
    }
    elsewhere = records.size();
  }
  const Cohort cohort(std::move(cases));
  const ordered_json result = cohort.json();
  write_text(tsv, cohort.tsv());
  write_text(json, json_text(result) + "\n");

  const std::size_t all = cohort.cases().size(), done = cohort.count(record_status::kDone);
  if (elsewhere > 0 && !arguments.common.quiet) {
    std::cerr << "e2enet collect: remark: " << elsewhere << " records of cases that are not in " << arguments.cases
              << " left out\n";
  }
  warn_of_mixture(cohort, "model_sha256", "model");
  warn_of_mixture(cohort, "version", "version");
  warn_of_mixture(cohort, "instruction_set", "instruction set");
  if (arguments.common.json) {
    std::cout << json_text(result) << "\n";
  } else if (!arguments.common.quiet) {
    Table table({{"structure", Align::left}, {"cases"}, {"median mL"}, {"robust deviation mL"}});
    for (const auto& [label, structure] : cohort.structures()) {
      table.add({std::to_string(label) + " " + one_line(structure.name), std::to_string(structure.cases),
                 fixed(structure.median_ml, 3), fixed(structure.robust_deviation_ml, 3)});
    }
    std::cout << done << " of " << all << " cases done\n" << table.text();
    std::size_t named = 0;
    for (const CohortCase& one : cohort.cases()) {
      if (one.outliers.empty()) continue;
      if (++named > kMostNamed) break;
      std::cout << "outlier  " << one_line(valid_utf8(one.name)) << ": " << one_line(cohort.outliers_text(one)) << "\n";
    }
    if (named > kMostNamed) std::cout << "outlier  ... (all in " << tsv << ")\n";
    std::cout << tsv << "\n" << json << "\n";
    std::cout.flush();
  }
  if (done == all) return kDone;
  std::size_t named = 0;
  for (const ordered_json& row : result["table"]) {
    if (row["status"] == record_status::kDone) continue;
    if (++named > kMostNamed) break;
    std::cerr << "e2enet collect: error: case "
              << one_line(row["case"].get<std::string>() + ": " + row["status"].get<std::string>() +
                          (row["error"].is_string() ? ": " + row["error"].get<std::string>() : std::string()))
              << "\n";
  }
  std::cerr << "e2enet collect: error: " << all - done << " of " << all << " cases are not done, see " << tsv
            << std::endl;
  return kFailed;
}

}  // namespace

void add_collect(CLI::App& program, Invocation& invocation) {
  const auto arguments = std::make_shared<Arguments>();
  Command command(program, "collect", kDescription, "Main commands", kFooter);
  command.add_option("folder", arguments->folders, "Folders of records")
      .type_name("FOLDER")
      .required()
      .group("Options");
  command
      .add_option("-o,--output", arguments->output,
                  "Table to write, tab-separated (.tsv); what it says and more goes beside it as .json")
      .type_name("COHORT.tsv")
      .required()
      .group("Options");
  command
      .add_option("--cases", arguments->cases,
                  "The cases of this list (as for `segment --cases`) and no others, also those without a record")
      .type_name("LIST.csv")
      .group("Options");
  add_common_options(command, arguments->common, Json::yes);
  command.on_parsed([arguments, &invocation] { invocation.run = [arguments] { return run(*arguments); }; });
}

}  // namespace e2enet::cli
