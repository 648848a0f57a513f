// e2enet tradeoff: what does accuracy cost?
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cli/bootstrap.h"
#include "cli/cases.h"
#include "cli/command_files.h"
#include "cli/commands.h"
#include "cli/image_remarks.h"
#include "cli/network_run.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/scores_output.h"
#include "cli/structure_plot.h"
#include "cli/text.h"
#include "cli/tradeoff_plot.h"
#include "e2enet/error.h"
#include "e2enet/evaluate.h"
#include "e2enet/image.h"
#include "e2enet/json.h"
#include "e2enet/segmenter.h"

namespace e2enet::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr char kDescription[] =
    "Compare models: accuracy against parameters, FLOPs, time and memory\n"
    "\n"
    "Usage: e2enet tradeoff -m MODEL [MODEL2 ...] -i IMAGES -r LABELS [OPTIONS]\n"
    "\n"
    "Segments every case of the folder IMAGES (CASE_0000.nii.gz or CASE.nii.gz) with every model and scores\n"
    "it against LABELS/CASE.nii.gz (docs/metrics.md). Each model runs in a process of its own, so that peak\n"
    "memory is its own. Parameters and FLOPs are those of `e2enet info`. PT is the performance trade-off\n"
    "score of the E2ENet paper among the models compared: A * Dice / largest Dice + B * (fewest parameters /\n"
    "parameters + fewest FLOPs / FLOPs), with executed FLOPs. Behind the mean Dice stands its 95% interval over\n"
    "the cases, and behind the other models their difference from the first, case by case, with its interval\n"
    "(bootstrap; docs/metrics.md). Labels that differ from their image in\n"
    "orientation are refused before any work, and where they differ in place or spacing a warning says so.";

constexpr char kFooter[] =
    "Examples:\n"
    "  e2enet tradeoff -m models/*.safetensors -i test/images -r test/labels \\\n"
    "      --csv tradeoff.csv --svg tradeoff.svg";

struct Arguments {
  CommonOptions common;
  std::vector<std::string> models;
  std::string images;
  std::string references;
  double step = 0.5;
  bool mirror = false;
  double tolerance = 1.0;
  bool ignore_geometry = false;
  bool force = false;
  std::vector<double> weights{1.0, 1.0};
  std::string csv;
  std::string cases_csv;
  std::string structures_svg;
  std::string markdown;
  std::string svg;
  std::string title = "Accuracy against cost";
};

struct TestCase {
  std::string name;
  std::vector<std::string> images;
  std::string reference;
  evaluate::GeometryComparison geometry;  // of the image with the reference
};

// Reads the headers of the image and its reference. Throws Error where they cannot be compared.
evaluate::GeometryComparison compare_places(const Arguments& arguments, const TestCase& one) {
  const Image image = Image::open(one.images);
  const Image reference = Image::open(one.reference);
  return evaluate::require_comparable(one.reference, reference.geometry(), one.images[0], image.geometry(),
                                      arguments.ignore_geometry);
}

struct TestCases {
  std::vector<TestCase> cases;
  std::vector<std::string> left_out;  // files of the folders that are in no case
  std::vector<std::string> remarks;   // lines about these and about names
};

// Registers what is read in `files`.
TestCases find_test_cases(const Arguments& arguments, int channels, CommandFiles& files) {
  const FolderCases of_images = find_cases(arguments.images, channels);
  const FolderCases of_references = find_label_files(arguments.references);
  const std::vector<Case>& images = of_images.cases;
  const std::vector<Case>& references = of_references.cases;
  for (const Case& one : images) {
    for (const std::string& image : one.channels) files.reads("--images", image);
  }
  for (const Case& one : references) files.reads("--references", one.channels[0]);
  TestCases found;
  std::vector<TestCase>& cases = found.cases;
  found.remarks = of_images.remarks;
  for (const auto& [folder, one] :
       {std::pair(&arguments.images, &of_images), std::pair(&arguments.references, &of_references)}) {
    const std::string line = left_out_line(*folder, one->left_out);
    if (!line.empty()) found.remarks.push_back(line);
    found.left_out.insert(found.left_out.end(), one->left_out.begin(), one->left_out.end());
  }
  for (const Case& image : images) {
    if (!image.problem.empty()) throw Error(ErrorCode::invalid_image, "case " + image.name + ": " + image.problem);
    const auto reference = std::find_if(references.begin(), references.end(),
                                        [&](const Case& candidate) { return candidate.name == image.name; });
    if (reference == references.end()) {
      throw Error(ErrorCode::cannot_read,
                  arguments.references + ": expected labels for case '" + image.name + "', found none");
    }
    cases.push_back({image.name, image.channels, reference->channels[0], {}});
    cases.back().geometry = compare_places(arguments, cases.back());
  }
  if (cases.empty()) throw Error(ErrorCode::cannot_read, arguments.images + ": expected images, found none");
  for (const Case& reference : references) {
    if (std::any_of(cases.begin(), cases.end(), [&](const TestCase& one) { return one.name == reference.name; }))
      continue;
    found.remarks.push_back("no image for " + reference.channels[0] + ": left out");
    found.left_out.push_back(reference.channels[0]);
  }
  return found;
}

// All cases with one model. Runs in the model's own process. What is to be said of the images is said with the first.
ordered_json measure(const Arguments& arguments, const std::string& path, const std::vector<TestCase>& cases,
                     const std::string& progress_head, bool first) {
  Options options;
  options.threads = use_threads(arguments.common);
  options.step = arguments.step;
  options.mirror = arguments.mirror;
  options.allow_implausible_spacing = arguments.force;
  Model model = Model::load(path);
  const std::map<int, std::string> names = model.labels();
  ordered_json json;
  json["model"] = path;
  json["parameters"] = model.parameters();
  json["flops_paper"] = model.flops_paper();
  json["flops_executed"] = model.flops_executed();
  json["patch"] = model.patch_size();
  Segmenter segmenter(std::move(model), options);
  std::vector<int> labels;
  for (const auto& [value, name] : names) {
    if (value != 0) labels.push_back(value);
  }

  ProgressDisplay display(ProgressDisplay::style_for(arguments.common.quiet));
  double seconds = 0, network_seconds = 0;
  std::vector<evaluate::CaseScores> scores;
  std::set<int> left_out;  // of the references' labels
  std::vector<Remark> remarks;
  const auto started = Clock::now();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const TestCase& one = cases[i];
    const double left =
        i == 0 ? -1
               : std::chrono::duration<double>(Clock::now() - started).count() / double(i) * double(cases.size() - i);
    display.update(progress_head, std::int64_t(i), std::int64_t(cases.size()), left);
    const auto start = Clock::now();
    const Image image = Image::open(one.images);
    const Segmentation result = segmenter.segment(image, {}, [](const Progress&) { return !interrupted(); });
    seconds += std::chrono::duration<double>(Clock::now() - start).count();
    network_seconds += result.seconds_network;
    const LabelVolume reference = read_labels(one.reference);
    std::vector<Remark> of_case = image.remarks();
    of_case.insert(of_case.end(), reference.remarks.begin(), reference.remarks.end());
    if (first) show_remarks(display, "tradeoff", of_case);
    remarks.insert(remarks.end(), of_case.begin(), of_case.end());
    const evaluate::LabelView expected = evaluate::view_of(reference);
    for (const int label : evaluate::labels_present(expected)) {
      if (names.count(label) == 0) left_out.insert(label);
    }
    const Geometry& geometry = result.geometry;
    scores.push_back(evaluate::score_case({result.labels.data(), geometry.shape, geometry.spacing, geometry.voxel_ml()},
                                          expected, labels, arguments.tolerance, options.threads));
  }
  const evaluate::Summary summary = evaluate::summarize(scores);
  const auto count = static_cast<double>(cases.size());
  json["cases"] = cases.size();
  json["seconds_per_case"] = seconds / count;
  json["network_seconds_per_case"] = network_seconds / count;
  ordered_json of_all = parsed(summary_json(summary, names));
  const ordered_json of_labels = std::move(of_all["labels"]);
  of_all.erase("labels");
  json.update(of_all);
  json["labels_left_out"] = left_out;
  json["remarks"] = parsed(remarks_json(remarks));
  json["labels"] = ordered_json::object();
  for (const auto& [label, of_label] : of_labels.items()) {
    ordered_json& entry = json["labels"][label];
    entry["name"] = names.at(std::stoi(label));
    entry.update(of_label);
    for (const char* key : {"prediction_ml", "reference_ml"}) entry.erase(key);
  }
  json["scores_of_cases"] = ordered_json::array();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    ordered_json of_case{{"case", cases[i].name}, {"labels", ordered_json::object()}};
    for (const auto& [label, score] : scores[i]) {
      const auto number = [](const std::optional<double>& value) {
        return value && std::isfinite(*value) ? ordered_json(*value) : ordered_json(nullptr);
      };
      of_case["labels"][std::to_string(label)] = {
          {"dice", number(score.dice)}, {"nsd", number(score.nsd)}, {"hd95", number(score.hd95)}};
    }
    json["scores_of_cases"].push_back(std::move(of_case));
  }
  return json;
}

// The mean Dice of each case over the labels that it has; NaN for a case that has none.
std::vector<double> dice_of_cases(const ordered_json& model) {
  std::vector<double> means;
  for (const ordered_json& one : model["scores_of_cases"]) {
    double sum = 0;
    int count = 0;
    for (const auto& [label, scores] : one["labels"].items()) {
      if (!scores["dice"].is_number()) continue;
      sum += scores["dice"].get<double>();
      ++count;
    }
    means.push_back(count > 0 ? sum / count : std::nan(""));
  }
  return means;
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? std::nan("") : sum / static_cast<double>(values.size());
}

ordered_json interval_json(const Interval& interval) {
  if (std::isnan(interval.low)) return nullptr;
  return {interval.low, interval.high};
}

// "0.8812 to 0.8950"; empty where there is none.
std::string interval_text(const ordered_json& interval, bool with_sign = false) {
  if (!interval.is_array()) return "";
  const auto number = [&](const ordered_json& value) {
    const auto bound = value.get<double>();
    return (with_sign && bound >= 0 ? "+" : "") + fixed(bound, 4);
  };
  return number(interval[0]) + " to " + number(interval[1]);
}

// Adds what the cases tell of the mean Dice: its interval, and the difference from the first model with its own.
void add_intervals(std::vector<ordered_json>& models) {
  const std::vector<double> first = dice_of_cases(models.front());
  for (std::size_t i = 0; i < models.size(); ++i) {
    const std::vector<double> own = dice_of_cases(models[i]);
    std::vector<double> scored, differences;
    for (std::size_t c = 0; c < own.size(); ++c) {
      if (std::isnan(own[c])) continue;
      scored.push_back(own[c]);
      if (!std::isnan(first[c])) differences.push_back(own[c] - first[c]);
    }
    models[i]["dice_interval"] = interval_json(bootstrap_interval(scored));
    if (i == 0) continue;
    const double difference = mean_of(differences);
    models[i]["dice_difference"] = std::isnan(difference) ? ordered_json(nullptr) : ordered_json(difference);
    models[i]["dice_difference_interval"] = interval_json(bootstrap_interval(differences));
  }
}

// "-0.0019 (-0.0040 to +0.0002)"
std::string difference_text(const ordered_json& model) {
  if (!model.contains("dice_difference") || !model["dice_difference"].is_number()) return "";
  const auto value = model["dice_difference"].get<double>();
  const std::string interval = interval_text(model["dice_difference_interval"], true);
  return (value >= 0 ? "+" : "") + fixed(value, 4) + (interval.empty() ? "" : " (" + interval + ")");
}

// One line a model, case and label.
std::string cases_csv_of(const std::vector<ordered_json>& models) {
  std::string csv = "model,case,label,name,dice,nsd,hd95\n";
  for (const ordered_json& model : models) {
    for (const ordered_json& one : model["scores_of_cases"]) {
      for (const auto& [label, scores] : one["labels"].items()) {
        const auto text = [&](const char* key) {
          if (scores[key].is_number()) return fixed(scores[key].get<double>(), 6);
          // Scored, but farther than any number: only one of the two volumes has the label.
          return std::string(scores["dice"].is_number() && std::string(key) == "hd95" ? "inf" : "");
        };
        csv += csv_field(model["model"]) + "," + csv_field(one["case"]) + "," + label + "," +
               csv_field(model["labels"][label]["name"]) + "," + text("dice") + "," + text("nsd") + "," + text("hd95") +
               "\n";
      }
    }
  }
  return csv;
}

// Rows for the labels of the first model; another model's label is its own only under the same value and name.
std::string structures_of(const std::vector<ordered_json>& models, const std::vector<std::string>& names,
                          const std::string& title) {
  std::vector<std::string> structures;
  std::vector<ModelStructures> points;
  for (const auto& [label, scores] : models.front()["labels"].items()) structures.push_back(scores["name"]);
  for (std::size_t i = 0; i < models.size(); ++i) {
    points.push_back({names[i], {}});
    for (const auto& [label, scores] : models.front()["labels"].items()) {
      std::vector<double> values;
      const ordered_json& own = models[i]["labels"];
      if (own.contains(label) && own[label]["name"] == scores["name"]) {
        for (const ordered_json& one : models[i]["scores_of_cases"]) {
          if (one["labels"][label]["dice"].is_number()) values.push_back(one["labels"][label]["dice"].get<double>());
        }
      }
      if (values.empty()) {
        points.back().dice.push_back(std::nullopt);
      } else {
        points.back().dice.push_back(StructureDice{mean_of(values), bootstrap_interval(values)});
      }
    }
  }
  return structure_svg(structures, points, title);
}

constexpr int kLookMilliseconds = 200;  // between looks for an interruption

// Runs measure() in a child, whose resident memory is the model's alone, and takes its answer through a pipe. The
// child's errors come back as text. The parent must not have used OpenMP before: its threads do not survive a fork.
ordered_json measure_apart(const Arguments& arguments, const std::string& path, const std::vector<TestCase>& cases,
                           const std::string& progress_head, bool first) {
  int ends[2];
  if (pipe(ends) != 0) throw Error(ErrorCode::internal, std::string("pipe: ") + std::strerror(errno));
  std::cout.flush();
  const pid_t child = fork();
  if (child < 0) throw Error(ErrorCode::out_of_memory, std::string("fork: ") + std::strerror(errno));
  if (child == 0) {
    close(ends[0]);
    ordered_json answer;
    try {
      answer = measure(arguments, path, cases, progress_head, first);
    } catch (const std::exception& error) {
      answer = {{"error", error.what()}};
    }
    const std::string text = json_text(answer);
    std::size_t sent = 0;
    while (sent < text.size()) {
      const ssize_t bytes = write(ends[1], text.data() + sent, text.size() - sent);
      if (bytes < 0 && errno != EINTR) break;
      if (bytes > 0) sent += static_cast<std::size_t>(bytes);
    }
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  bool passed_on = false;
  for (;;) {
    // A signal may have been meant for this process alone.
    if (interrupted() && !std::exchange(passed_on, true)) kill(child, SIGTERM);
    pollfd readable{ends[0], POLLIN, 0};
    const int ready = poll(&readable, 1, kLookMilliseconds);
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    const ssize_t bytes = read(ends[0], buffer, sizeof buffer);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) break;
    text.append(buffer, static_cast<std::size_t>(bytes));
  }
  close(ends[0]);
  int status = 0;
  rusage usage{};
  while (wait4(child, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  ordered_json answer = ordered_json::parse(text, nullptr, false);
  stop_if_interrupted();
  if (!answer.is_object()) {
    throw Error(ErrorCode::internal, path + ": the process that measured it ended before it answered" +
                                         (WIFSIGNALED(status) ? std::string(": ") + strsignal(WTERMSIG(status)) : ""));
  }
  if (answer.contains("error")) throw Error(ErrorCode::internal, answer["error"].get<std::string>());
  answer["peak_bytes"] = std::int64_t{usage.ru_maxrss} * 1024;
  return answer;
}

std::string number_text(const ordered_json& value, int decimals) {
  return value.is_number() ? fixed(value.get<double>(), decimals) : "";
}

// JSON has no infinity: a mean that is null is infinite where the values behind it are.
std::string hd95_text(const ordered_json& scores, const char* key, int decimals) {
  if (scores["hd95_infinite"].get<int>() > 0) return "inf";
  return number_text(scores[key], decimals);
}

// "inf (1 of 60)" pairs of label and case
std::string mean_hd95_text(const ordered_json& model) {
  const int infinite = model["hd95_infinite"];
  std::string text = hd95_text(model, "mean_hd95", 2);
  if (infinite > 0) text += " (" + std::to_string(infinite) + " of " + model["pairs_scored"].dump() + ")";
  return text;
}

std::string csv_of(const std::vector<ordered_json>& models, std::size_t cases_elsewhere) {
  std::string csv =
      "model,parameters,flops_paper,flops_executed,seconds_per_case,network_seconds_per_case,peak_bytes,"
      "mean_dice,mean_nsd,mean_hd95,pt_score,label,name,dice,dice_sd,nsd,hd95,hd95_infinite,"
      "cases_scored,cases_not_scored,pairs_scored,geometry_differs,"
      "mean_dice_low,mean_dice_high,dice_difference,difference_low,difference_high\n";
  const auto bounds = [](const ordered_json& interval) {
    return interval.is_array() ? number_text(interval[0], 6) + "," + number_text(interval[1], 6) : std::string(",");
  };
  for (const ordered_json& one : models) {
    for (const auto& [label, scores] : one["labels"].items()) {
      csv += csv_field(one["model"]) + "," + std::to_string(one["parameters"].get<std::int64_t>()) + "," +
             number_text(one["flops_paper"], 0) + "," + number_text(one["flops_executed"], 0) + "," +
             number_text(one["seconds_per_case"], 4) + "," + number_text(one["network_seconds_per_case"], 4) + "," +
             std::to_string(one["peak_bytes"].get<std::int64_t>()) + "," + number_text(one["mean_dice"], 6) + "," +
             number_text(one["mean_nsd"], 6) + "," + hd95_text(one, "mean_hd95", 4) + "," +
             number_text(one["pt_score"], 4) + "," + label + "," + csv_field(scores["name"]) + "," +
             number_text(scores["dice"], 6) + "," + number_text(scores["dice_sd"], 6) + "," +
             number_text(scores["nsd"], 6) + "," + hd95_text(scores, "hd95", 4) + "," + scores["hd95_infinite"].dump() +
             "," + scores["cases_scored"].dump() + "," + scores["cases_not_scored"].dump() + "," +
             one["pairs_scored"].dump() + "," + std::to_string(cases_elsewhere) + "," + bounds(one["dice_interval"]) +
             "," +
             (one.contains("dice_difference")
                  ? number_text(one["dice_difference"], 6) + "," + bounds(one["dice_difference_interval"])
                  : ",,") +
             "\n";
    }
  }
  return csv;
}

int run(const Arguments& arguments) {
  CommandFiles files;
  int channels = 0;
  for (const std::string& path : arguments.models) {
    files.reads("--model", path);
    // A bad last model should not be found after an hour.
    const int of_model = Model::load(path).input_channels();
    if (channels != 0 && of_model != channels) {
      throw UsageError("--model: expected models of one number of channels, found " + std::to_string(channels) +
                       " in " + arguments.models.front() + " and " + std::to_string(of_model) + " in " + path);
    }
    channels = of_model;
  }
  const TestCases found = find_test_cases(arguments, channels, files);
  const std::vector<TestCase>& cases = found.cases;
  files.writes("--csv", arguments.csv);
  files.writes("--cases-csv", arguments.cases_csv);
  files.writes("--structures-svg", arguments.structures_svg);
  files.writes("--markdown", arguments.markdown);
  files.writes("--svg", arguments.svg);
  files.require_writable();
  ProgressDisplay display(ProgressDisplay::style_for(arguments.common.quiet));
  for (const std::string& remark : found.remarks) display.remark(remark);
  std::vector<ordered_json> models;
  std::vector<TradeoffCost> costs;
  for (std::size_t i = 0; i < arguments.models.size(); ++i) {
    const std::string name = fs::path(arguments.models[i]).stem().string();
    models.push_back(measure_apart(
        arguments, arguments.models[i], cases,
        "[" + std::to_string(i + 1) + "/" + std::to_string(arguments.models.size()) + "] " + name, i == 0));
    const ordered_json& one = models.back();
    costs.push_back({one["mean_dice"].is_number() ? one["mean_dice"].get<double>() : 0.0, one["parameters"],
                     one["flops_executed"]});
  }
  const std::vector<double> scores = tradeoff_scores(costs, arguments.weights[0], arguments.weights[1]);
  add_intervals(models);
  std::vector<TradeoffPoint> points;
  Table table({{"model", Align::left},
               {"Dice"},
               {"95% interval"},
               {"against the first"},
               {"NSD"},
               {"HD95 mm"},
               {"pairs"},
               {"parameters"},
               {"executed GFLOP"},
               {"paper GFLOP"},
               {"s/case"},
               {"peak memory"},
               {"PT"}});
  for (std::size_t i = 0; i < models.size(); ++i) {
    ordered_json& one = models[i];
    one["pt_score"] = scores[i];
    const std::string name = fs::path(arguments.models[i]).stem().string();
    table.add({name, number_text(one["mean_dice"], 4), interval_text(one["dice_interval"]), difference_text(one),
               number_text(one["mean_nsd"], 4), mean_hd95_text(one), one["pairs_scored"].dump(),
               count_text(costs[i].parameters), fixed(costs[i].flops * 1e-9, 3),
               fixed(one["flops_paper"].get<double>() * 1e-9, 3), number_text(one["seconds_per_case"], 3),
               bytes_text(one["peak_bytes"]), fixed(scores[i], 3)});
    const auto number = [&](const char* key) { return one[key].is_number() ? one[key].get<double>() : std::nan(""); };
    const bool infinite = one["hd95_infinite"].get<int>() > 0;
    points.push_back({name, number("mean_dice"), number("mean_nsd"),
                      infinite ? std::numeric_limits<double>::infinity() : number("mean_hd95"), costs[i].parameters,
                      costs[i].flops, number("seconds_per_case"), number("peak_bytes"),
                      name + ": Dice " + number_text(one["mean_dice"], 4) + ", surface Dice " +
                          number_text(one["mean_nsd"], 4) + ", HD95 " + mean_hd95_text(one) + " mm, " +
                          count_text(costs[i].parameters) + " parameters, " + count_text(costs[i].flops) + "FLOP, " +
                          duration_text(one["seconds_per_case"]) + " a case, " + bytes_text(one["peak_bytes"]) +
                          ", PT " + fixed(scores[i], 3)});
  }
  std::vector<ScoredCase> places;
  for (const TestCase& one : cases) places.push_back({one.name, {}, one.geometry});
  std::vector<std::string> warnings = geometry_warnings(places, "image", "reference");
  const std::size_t cases_elsewhere = warnings.size();
  std::vector<std::string> notes;  // below plots and Markdown, which have no room for more
  if (cases_elsewhere > 0) {
    notes.push_back("warning: " + std::to_string(cases_elsewhere) + " of " + std::to_string(cases.size()) +
                    " cases: image and reference differ in where they lie in space");
  }
  for (std::size_t i = 0; i < models.size(); ++i) {
    if (models[i]["labels_left_out"].empty()) continue;
    std::string values;
    for (const ordered_json& label : models[i]["labels_left_out"])
      values += (values.empty() ? "" : ", ") + label.dump();
    warnings.push_back("warning: " + points[i].name + ": not scored, since the model has no such labels: " + values);
    notes.push_back(warnings.back());
  }
  if (!arguments.csv.empty()) write_text(arguments.csv, csv_of(models, cases_elsewhere));
  if (!arguments.cases_csv.empty()) write_text(arguments.cases_csv, cases_csv_of(models));
  if (!arguments.structures_svg.empty()) {
    std::vector<std::string> names;
    for (const TradeoffPoint& point : points) names.push_back(point.name);
    write_text(arguments.structures_svg, structures_of(models, names, arguments.title));
  }
  if (!arguments.markdown.empty()) {
    std::string markdown = table.markdown();
    for (const std::string& note : notes) markdown += "\n" + note + "\n";
    write_text(arguments.markdown, markdown);
  }
  if (!arguments.svg.empty()) write_text(arguments.svg, tradeoff_svg(points, arguments.title, notes));
  if (arguments.common.json) {
    ordered_json differing = ordered_json::array();
    for (const TestCase& one : cases) {
      if (one.geometry.match == evaluate::GeometryMatch::same) continue;
      differing.push_back({{"case", one.name}, {"geometry_difference", one.geometry.difference}});
    }
    const ordered_json json{{"models", models},
                            {"geometry_differs", cases_elsewhere > 0},
                            {"cases_elsewhere", differing},
                            {"left_out", found.left_out}};
    std::cout << json_text(json) << "\n";
  } else {
    std::cout << table.text() << cases.size() << " cases; FLOPs of a patch; "
              << "time from files to labels\n";
    for (const std::string& line : warnings) std::cout << line << "\n";
  }
  return kDone;
}

}  // namespace

void add_tradeoff(CLI::App& program, Invocation& invocation) {
  const auto arguments = std::make_shared<Arguments>();
  Command command(program, "tradeoff", kDescription, "Models", kFooter);
  command.add_option("-m,--model", arguments->models, "Model files (.safetensors)")
      .type_name("MODEL...")
      .required()
      .group("Input");
  command.add_option("-i,--images", arguments->images, "Folder of images")
      .type_name("FOLDER")
      .required()
      .group("Input");
  command.add_option("-r,--references", arguments->references, "Folder of labels that are right")
      .type_name("FOLDER")
      .required()
      .group("Input");
  command
      .add_option("--step", arguments->step,
                  "Distance of neighbouring tiles, as a fraction of the patch: at most 1, and at least one voxel")
      .type_name("FRACTION")
      .show_default()
      .group("How to compare");
  command.add_flag("--tta", arguments->mirror, "Average over mirrored copies of each tile").group("How to compare");
  command.add_option("--tolerance", arguments->tolerance, "Deviation of the surface that NSD accepts, in mm")
      .type_name("MM")
      .show_default()
      .group("How to compare");
  command
      .add_flag("--ignore-geometry", arguments->ignore_geometry,
                "Compare voxels of the same index also where the axes of image and reference run differently in space; "
                "without it that is refused")
      .group("How to compare");
  add_force_option(command, arguments->force, "How to compare");
  command.add_option("--weights", arguments->weights, "Weights A and B of the PT score")
      .type_name("A,B")
      .delimiter(',')
      .default_text("1,1")
      .group("How to compare");
  command.add_option("--csv", arguments->csv, "Also write all figures to this file")
      .type_name("FILE.csv")
      .group("Output");
  command.add_option("--cases-csv", arguments->cases_csv, "Also write the scores of each case and label to this file")
      .type_name("FILE.csv")
      .group("Output");
  command.add_option("--markdown", arguments->markdown, "Also write the table to this file, as Markdown")
      .type_name("FILE.md")
      .group("Output");
  command.add_option("--svg", arguments->svg, "Also plot each measure of accuracy against each of cost")
      .type_name("FILE.svg")
      .group("Output");
  command
      .add_option("--structures-svg", arguments->structures_svg,
                  "Also plot the Dice of each structure, with its 95% interval")
      .type_name("FILE.svg")
      .group("Output");
  command.add_option("--title", arguments->title, "Title of the plots")
      .type_name("TEXT")
      .show_default()
      .group("Output");
  add_common_options(command, arguments->common, Json::yes);
  command.on_parsed([arguments, &invocation] {
    if (!(arguments->step > 0 && arguments->step <= 1)) {
      throw UsageError("--step: expected a fraction above 0 and at most 1, found " + fixed(arguments->step, 6));
    }
    if (!(arguments->tolerance >= 0) || !std::isfinite(arguments->tolerance)) {
      throw UsageError("--tolerance: expected a number of mm >= 0, found " + fixed(arguments->tolerance, 6));
    }
    if (arguments->weights.size() != 2) {
      throw UsageError("--weights: expected two numbers A,B, found " + std::to_string(arguments->weights.size()));
    }
    invocation.run = [arguments] { return run(*arguments); };
  });
}

}  // namespace e2enet::cli
