// e2enet evaluate: how well do predicted labels agree with reference labels?
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "cli/cases.h"
#include "cli/command_files.h"
#include "cli/commands.h"
#include "cli/image_remarks.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/scores_output.h"
#include "cli/text.h"
#include "e2enet/error.h"
#include "e2enet/evaluate.h"
#include "e2enet/json.h"
#include "e2enet/model.h"

namespace e2enet::cli {
namespace {

namespace fs = std::filesystem;

constexpr char kDescription[] =
    "Compare predicted labels with reference labels\n"
    "\n"
    "Usage: e2enet evaluate -p PREDICTION -r REFERENCE [OPTIONS]\n"
    "       e2enet evaluate -p FOLDER -r FOLDER [OPTIONS]\n"
    "\n"
    "Dice, normalised surface Dice (NSD), 95% Hausdorff distance (HD95) and volumes, per label and mean.\n"
    "Of two folders, files with the same name belong together. A label that only one of the two files has\n"
    "scores Dice 0, NSD 0 and an infinite HD95, which makes the mean of HD95 infinite; one that neither has is\n"
    "not scored (docs/metrics.md). Where the files differ in orientation they are refused, and where they differ\n"
    "in place or spacing a warning says so.";

constexpr char kFooter[] =
    "Examples:\n"
    "  e2enet evaluate -p labels.nii.gz -r reference.nii.gz\n"
    "  e2enet evaluate -p predictions/ -r references/ --csv scores.csv\n"
    "  e2enet evaluate -p labels.nii.gz -r atlas.nii.gz --match 1+2=38\n"
    "  e2enet evaluate -p predictions/ -r references/ --json | jq .mean_dice";

struct Arguments {
  CommonOptions common;
  std::string prediction;
  std::string reference;
  std::string model;
  std::string csv;
  double tolerance = 1.0;
  std::vector<int> labels;
  std::string match;
  std::vector<evaluate::LabelMatch> matches;
  bool ignore_geometry = false;
};

struct Pair {
  std::string name;
  std::string prediction;
  std::string reference;
};

struct Pairs {
  std::vector<Pair> pairs;
  std::vector<std::string> left_out;  // files of the folders that are in no pair
  std::vector<std::string> remarks;   // lines about these
};

// Registers what is read in `files`.
Pairs find_pairs(const Arguments& arguments, CommandFiles& files) {
  const bool folder_p = fs::is_directory(arguments.prediction), folder_r = fs::is_directory(arguments.reference);
  if (folder_p != folder_r && fs::exists(arguments.prediction) && fs::exists(arguments.reference)) {
    throw UsageError("--prediction and --reference: expected two files or two folders, found one of each");
  }
  if (!folder_p) {
    files.reads("--prediction", arguments.prediction);
    files.reads("--reference", arguments.reference);
    return {{{image_stem(arguments.prediction), arguments.prediction, arguments.reference}}, {}, {}};
  }
  Pairs found;
  const FolderCases of_predictions = find_label_files(arguments.prediction);
  const FolderCases of_references = find_label_files(arguments.reference);
  const std::vector<Case>& predictions = of_predictions.cases;
  const std::vector<Case>& references = of_references.cases;
  for (const Case& one : predictions) files.reads("--prediction", one.channels[0]);
  for (const Case& one : references) files.reads("--reference", one.channels[0]);
  for (const auto& [folder, one] :
       {std::pair(&arguments.prediction, &of_predictions), std::pair(&arguments.reference, &of_references)}) {
    const std::string line = left_out_line(*folder, one->left_out);
    if (!line.empty()) found.remarks.push_back(line);
    found.left_out.insert(found.left_out.end(), one->left_out.begin(), one->left_out.end());
    if (same_file(arguments.prediction, arguments.reference)) break;
  }
  const auto find = [](const std::vector<Case>& cases, const std::string& name) {
    return std::find_if(cases.begin(), cases.end(), [&](const Case& one) { return one.name == name; });
  };
  for (const Case& reference : references) {
    const auto prediction = find(predictions, reference.name);
    if (prediction == predictions.end()) {
      // Leaving it out would make a program look better that failed on the hard cases.
      throw Error(ErrorCode::cannot_read, arguments.prediction +
                                              ": expected a prediction for every reference, found none for '" +
                                              reference.name + "'");
    }
    found.pairs.push_back({reference.name, prediction->channels[0], reference.channels[0]});
  }
  for (const Case& prediction : predictions) {
    if (find(references, prediction.name) == references.end()) {
      found.remarks.push_back("no reference for " + prediction.channels[0] + ": left out");
      found.left_out.push_back(prediction.channels[0]);
    }
  }
  if (found.pairs.empty())
    throw Error(ErrorCode::cannot_read, arguments.reference + ": no label files (.nii, .nii.gz) found");
  return found;
}

// Labels of either volume that are not among `scored`.
void note_left_out(const LabelVolume& image, const std::set<int>& scored, std::set<int>& left_out) {
  for (const int label : evaluate::labels_present(evaluate::view_of(image))) {
    if (scored.count(label) == 0) left_out.insert(label);
  }
}

int run(const Arguments& arguments) {
  const int threads = use_threads(arguments.common);
  ProgressDisplay display(ProgressDisplay::style_for(arguments.common.quiet));
  std::map<int, std::string> names;
  if (!arguments.model.empty()) names = Model::load(arguments.model).labels();
  CommandFiles files;
  if (!arguments.model.empty()) files.reads("--model", arguments.model);
  const Pairs found = find_pairs(arguments, files);
  const std::vector<Pair>& pairs = found.pairs;
  files.writes("--csv", arguments.csv);
  files.require_writable();
  for (const std::string& remark : found.remarks) display.remark(remark);

  std::set<int> asked(arguments.labels.begin(), arguments.labels.end());
  for (const auto& [value, name] : names) {
    if (arguments.labels.empty() && value != 0) asked.insert(value);
  }
  for (const evaluate::LabelMatch& match : arguments.matches) {
    asked.insert(match.label());
    names[match.label()] = "(" + evaluate::match_text(match) + ")";
  }
  std::set<int> seen = asked, left_out;
  std::vector<ScoredCase> cases;
  std::vector<Remark> remarks;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (interrupted()) throw Error(ErrorCode::cancelled, "interrupted");
    const Pair& pair = pairs[i];
    display.update("comparing " + pair.name, static_cast<std::int64_t>(i), static_cast<std::int64_t>(pairs.size()), -1);
    LabelVolume prediction = read_labels(pair.prediction);
    LabelVolume reference = read_labels(pair.reference);
    std::vector<Remark> of_pair = prediction.remarks;
    of_pair.insert(of_pair.end(), reference.remarks.begin(), reference.remarks.end());
    show_remarks(display, "evaluate", of_pair);
    remarks.insert(remarks.end(), of_pair.begin(), of_pair.end());
    if (!arguments.matches.empty()) {
      evaluate::renumber_prediction(arguments.matches, prediction.labels);
      evaluate::renumber_reference(arguments.matches, reference.labels);
    }
    const evaluate::GeometryComparison geometry = evaluate::require_comparable(
        pair.prediction, prediction.geometry, pair.reference, reference.geometry, arguments.ignore_geometry);
    if (!arguments.model.empty() && arguments.labels.empty()) {
      note_left_out(prediction, asked, left_out);
      note_left_out(reference, asked, left_out);
    }
    std::set<int> of_case = asked;
    if (asked.empty()) {
      for (const evaluate::LabelView& view : {evaluate::view_of(prediction), evaluate::view_of(reference)}) {
        for (const int label : evaluate::labels_present(view)) of_case.insert(label);
      }
      seen.insert(of_case.begin(), of_case.end());
    }
    cases.push_back({pair.name,
                     evaluate::score_case(evaluate::view_of(prediction), evaluate::view_of(reference),
                                          {of_case.begin(), of_case.end()}, arguments.tolerance, threads),
                     geometry});
  }
  // A label that a case lacks on both sides is listed as not scored, so that all cases have the same rows.
  for (ScoredCase& one : cases) {
    for (const int label : seen) one.scores.emplace(label, evaluate::LabelScore{});
  }
  display.clear();
  std::vector<std::string> warnings = geometry_warnings(cases, "prediction", "reference");
  if (!left_out.empty()) {
    std::string values;
    for (const int label : left_out) values += (values.empty() ? "" : ", ") + std::to_string(label);
    warnings.push_back("warning: not scored, since the model has no such labels: " + values);
  }

  if (!arguments.csv.empty()) {
    write_text(arguments.csv, scores_csv(cases, names));
  }
  if (arguments.common.json) {
    nlohmann::ordered_json json = scores_json(cases, names);
    json["tolerance_mm"] = arguments.tolerance;
    json["labels_left_out"] = left_out;
    json["left_out"] = found.left_out;
    for (const std::string& line : warnings) display.remark(line);
    json["remarks"] = parsed(remarks_json(remarks));
    std::cout << json_text(json) << "\n";
  } else {
    // With the table, not on stderr: a warning that --quiet or a pipe drops would leave scores that look sound.
    std::cout << scores_table(cases, names);
    for (const std::string& line : warnings) std::cout << line << "\n";
  }
  return kDone;
}

}  // namespace

void add_evaluate(CLI::App& program, Invocation& invocation) {
  const auto arguments = std::make_shared<Arguments>();
  Command command(program, "evaluate", kDescription, "Main commands", kFooter);
  command.add_option("-p,--prediction", arguments->prediction, "Label file, or folder of them, to be judged")
      .type_name("PATH")
      .required()
      .group("Input");
  command.add_option("-r,--reference", arguments->reference, "Label file, or folder of them, that is right")
      .type_name("PATH")
      .required()
      .group("Input");
  command.add_option("-m,--model", arguments->model, "Take labels and their names from this model file")
      .type_name("MODEL")
      .group("Input");
  command.add_option("--tolerance", arguments->tolerance, "Deviation of the surface that NSD accepts, in mm")
      .type_name("MM")
      .show_default()
      .group("Scores");
  command
      .add_option("--labels", arguments->labels,
                  "Score these label values only, separated by commas; without it, all that occur")
      .type_name("N,N,...")
      .delimiter(',')
      .group("Scores");
  command
      .add_option("--match", arguments->match,
                  "Where the two number structures differently: 1+2=38 scores the prediction's 1 and 2, joined, as the "
                  "reference's 38; several separated by commas, and nothing else is scored")
      .type_name("P+P=R,...")
      .group("Scores");
  command
      .add_flag("--ignore-geometry", arguments->ignore_geometry,
                "Compare voxels of the same index also where the two files' axes run differently in space; without it "
                "that is refused")
      .group("Scores");
  command.add_option("--csv", arguments->csv, "Also write the scores of every case and label to this file")
      .type_name("FILE")
      .group("Output");
  add_common_options(command, arguments->common, Json::yes);
  command.on_parsed([arguments, &invocation] {
    if (!(arguments->tolerance >= 0) || !std::isfinite(arguments->tolerance)) {
      throw UsageError("--tolerance: expected a number of mm >= 0, found " + std::to_string(arguments->tolerance));
    }
    for (const int label : arguments->labels) {
      if (label < 1 || label > 65535) {
        throw UsageError("--labels: expected values from 1 to 65535" +
                         std::string(label == 0 ? " (0 is the background, which is not scored)" : "") + ", found " +
                         std::to_string(label));
      }
    }
    if (!arguments->match.empty()) {
      if (!arguments->labels.empty() || !arguments->model.empty()) {
        throw UsageError("--match: expected neither --labels nor --model beside it, found one");
      }
      try {
        arguments->matches = evaluate::parse_label_matches(arguments->match);
      } catch (const Error& error) {
        throw UsageError(std::string("--match: ") + error.what());
      }
    }
    invocation.run = [arguments] { return run(*arguments); };
  });
}

}  // namespace e2enet::cli
