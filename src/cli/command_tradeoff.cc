// e2enet tradeoff: what does accuracy cost?
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
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "cli/cases.h"
#include "cli/commands.h"
#include "cli/network_run.h"
#include "cli/progress.h"
#include "cli/segmented_case.h"
#include "cli/text.h"
#include "cli/tradeoff_plot.h"
#include "e2enet/error.h"
#include "evaluate/metrics.h"
#include "imaging/nifti_reader.h"
#include "model/flops.h"
#include "model/model_file.h"

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
    "parameters + fewest FLOPs / FLOPs), with executed FLOPs.";

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
  std::vector<double> weights{1.0, 1.0};
  std::string csv;
  std::string markdown;
  std::string svg;
  std::string title = "Accuracy against cost";
};

struct TestCase {
  std::string name;
  std::vector<std::string> images;
  std::string reference;
};

std::vector<TestCase> find_test_cases(const Arguments& arguments) {
  const std::vector<Case> images = find_cases(arguments.images);
  const std::vector<Case> references = find_label_files(arguments.references);
  std::vector<TestCase> cases;
  for (const Case& image : images) {
    if (!image.problem.empty()) throw Error(ErrorCode::invalid_image, "case " + image.name + ": " + image.problem);
    const auto reference = std::find_if(references.begin(), references.end(),
                                        [&](const Case& candidate) { return candidate.name == image.name; });
    if (reference == references.end()) {
      throw Error(ErrorCode::cannot_read,
                  arguments.references + ": expected labels for case '" + image.name + "', found none");
    }
    cases.push_back({image.name, image.channels, reference->channels[0]});
  }
  if (cases.empty()) throw Error(ErrorCode::cannot_read, arguments.images + ": expected images, found none");
  return cases;
}

class KeepLabels : public streaming::LabelSink {
 public:
  explicit KeepLabels(std::int64_t slice_size) : slice_size_(slice_size) {}
  void consume(std::int64_t, std::int64_t slices, const std::uint16_t* labels) override {
    labels_.insert(labels_.end(), labels, labels + slices * slice_size_);
  }
  const std::vector<std::uint16_t>& labels() const { return labels_; }

 private:
  std::int64_t slice_size_;
  std::vector<std::uint16_t> labels_;
};

// All cases with one model. Runs in the model's own process.
ordered_json measure(const Arguments& arguments, const std::string& path, const std::vector<TestCase>& cases,
                     const std::string& progress_head) {
  use_threads(arguments.common.threads);
  SegmentOptions options;
  options.plan = plan_options(NetworkOptions{}, arguments.common.threads);
  options.step = arguments.step;
  options.mirror = arguments.mirror;
  CaseSegmenter segmenter(model::load_model_file(path), options);
  const model::Network& network = segmenter.engine().network();
  const model::Flops flops = model::count_flops(network, segmenter.engine().plan().patch);
  std::vector<int> labels;
  for (const auto& [value, name] : network.configuration().labels) {
    if (value != 0) labels.push_back(value);
  }

  ProgressDisplay display(ProgressDisplay::style_for(arguments.common.quiet));
  double seconds = 0, network_seconds = 0;
  std::vector<evaluate::CaseScores> scores;
  const auto started = Clock::now();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const TestCase& one = cases[i];
    const double left =
        i == 0 ? -1
               : std::chrono::duration<double>(Clock::now() - started).count() / double(i) * double(cases.size() - i);
    display.update(progress_head, std::int64_t(i), std::int64_t(cases.size()), left);
    const auto start = Clock::now();
    const ImageFiles image(one.images);
    const Geometry& geometry = image.geometry();
    KeepLabels sink(geometry.shape[1] * geometry.shape[2]);
    const streaming::PipelineResult result = segmenter.segment(image, {}, streaming::Holding::prepared, sink,
                                                               [](const Progress&) { return !interrupted(); });
    seconds += std::chrono::duration<double>(Clock::now() - start).count();
    network_seconds += result.network_seconds;
    const imaging::LabelImage reference = imaging::read_labels(one.reference);
    if (reference.geometry.shape != geometry.shape) {
      throw Error(ErrorCode::invalid_image,
                  one.reference + ": expected the shape of " + one.images[0] + ", found another");
    }
    scores.push_back(evaluate::score_case({sink.labels().data(), geometry.shape, geometry.spacing},
                                          {reference.labels.data(), geometry.shape, reference.geometry.spacing}, labels,
                                          arguments.tolerance));
  }
  const evaluate::Summary summary = evaluate::summarize(scores);
  const auto number = [](const std::optional<double>& value) -> ordered_json {
    if (!value) return nullptr;
    return *value;
  };
  const auto count = static_cast<double>(cases.size());
  ordered_json json;
  json["model"] = path;
  json["parameters"] = model::count_parameters(network);
  json["flops_paper"] = flops.paper;
  json["flops_executed"] = flops.executed;
  json["patch"] = segmenter.engine().plan().patch;
  json["cases"] = cases.size();
  json["seconds_per_case"] = seconds / count;
  json["network_seconds_per_case"] = network_seconds / count;
  json["mean_dice"] = number(summary.mean_dice);
  json["mean_nsd"] = number(summary.mean_nsd);
  json["mean_hd95"] = number(summary.mean_hd95);
  json["labels"] = ordered_json::object();
  for (const auto& [label, of_label] : summary.labels) {
    ordered_json& entry = json["labels"][std::to_string(label)];
    entry["name"] = network.configuration().labels.at(label);
    entry["dice"] = of_label.dice.count ? ordered_json(of_label.dice.mean) : ordered_json(nullptr);
    entry["dice_sd"] = of_label.dice.sd;
    entry["nsd"] = of_label.nsd.count ? ordered_json(of_label.nsd.mean) : ordered_json(nullptr);
    entry["hd95"] = of_label.hd95.count ? ordered_json(of_label.hd95.mean) : ordered_json(nullptr);
    entry["hd95_infinite"] = of_label.hd95.left_out;
  }
  return json;
}

// Runs measure() in a child, whose resident memory is the model's alone, and takes its answer through a pipe. The
// child's errors come back as text. The parent must not have used OpenMP before: its threads do not survive a fork.
ordered_json measure_apart(const Arguments& arguments, const std::string& path, const std::vector<TestCase>& cases,
                           const std::string& progress_head) {
  int ends[2];
  if (pipe(ends) != 0) throw Error(ErrorCode::internal, std::string("pipe: ") + std::strerror(errno));
  std::cout.flush();
  const pid_t child = fork();
  if (child < 0) throw Error(ErrorCode::out_of_memory, std::string("fork: ") + std::strerror(errno));
  if (child == 0) {
    close(ends[0]);
    ordered_json answer;
    try {
      answer = measure(arguments, path, cases, progress_head);
    } catch (const std::exception& error) {
      answer = {{"error", error.what()}};
    }
    const std::string text = answer.dump();
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
  for (;;) {
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

std::string csv_of(const std::vector<ordered_json>& models) {
  std::string csv =
      "model,parameters,flops_paper,flops_executed,seconds_per_case,network_seconds_per_case,peak_bytes,"
      "mean_dice,mean_nsd,mean_hd95,pt_score,label,name,dice,dice_sd,nsd,hd95,hd95_infinite\n";
  for (const ordered_json& one : models) {
    for (const auto& [label, scores] : one["labels"].items()) {
      csv += csv_field(one["model"]) + "," + std::to_string(one["parameters"].get<std::int64_t>()) + "," +
             number_text(one["flops_paper"], 0) + "," + number_text(one["flops_executed"], 0) + "," +
             number_text(one["seconds_per_case"], 4) + "," + number_text(one["network_seconds_per_case"], 4) + "," +
             std::to_string(one["peak_bytes"].get<std::int64_t>()) + "," + number_text(one["mean_dice"], 6) + "," +
             number_text(one["mean_nsd"], 6) + "," + number_text(one["mean_hd95"], 4) + "," +
             number_text(one["pt_score"], 4) + "," + label + "," + csv_field(scores["name"]) + "," +
             number_text(scores["dice"], 6) + "," + number_text(scores["dice_sd"], 6) + "," +
             number_text(scores["nsd"], 6) + "," + number_text(scores["hd95"], 4) + "," +
             scores["hd95_infinite"].dump() + "\n";
    }
  }
  return csv;
}

void write_text(const std::string& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text.data(), text.size());
  file.commit();
}

int run(const Arguments& arguments) {
  const std::vector<TestCase> cases = find_test_cases(arguments);
  for (const std::string& path : arguments.models) {
    model::load_model_file(path);  // a bad last model should not be found after an hour
    for (const std::string& output : {arguments.csv, arguments.markdown, arguments.svg}) {
      if (!output.empty() && same_file(output, path)) {
        throw UsageError("--csv, --markdown and --svg: expected another file than a model, found " + output);
      }
    }
  }
  std::vector<ordered_json> models;
  std::vector<TradeoffCost> costs;
  for (std::size_t i = 0; i < arguments.models.size(); ++i) {
    const std::string name = fs::path(arguments.models[i]).stem().string();
    models.push_back(
        measure_apart(arguments, arguments.models[i], cases,
                      "[" + std::to_string(i + 1) + "/" + std::to_string(arguments.models.size()) + "] " + name));
    const ordered_json& one = models.back();
    costs.push_back({one["mean_dice"].is_number() ? one["mean_dice"].get<double>() : 0.0, one["parameters"],
                     one["flops_executed"]});
  }
  const std::vector<double> scores = tradeoff_scores(costs, arguments.weights[0], arguments.weights[1]);
  std::vector<TradeoffPoint> points;
  Table table({{"model", Align::left},
               {"Dice"},
               {"NSD"},
               {"HD95 mm"},
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
    table.add({name, number_text(one["mean_dice"], 4), number_text(one["mean_nsd"], 4),
               number_text(one["mean_hd95"], 2), count_text(costs[i].parameters), fixed(costs[i].flops * 1e-9, 3),
               fixed(one["flops_paper"].get<double>() * 1e-9, 3), number_text(one["seconds_per_case"], 3),
               bytes_text(one["peak_bytes"]), fixed(scores[i], 3)});
    const auto number = [&](const char* key) { return one[key].is_number() ? one[key].get<double>() : std::nan(""); };
    points.push_back({name, number("mean_dice"), number("mean_nsd"), number("mean_hd95"), costs[i].parameters,
                      costs[i].flops, number("seconds_per_case"), number("peak_bytes"),
                      name + ": Dice " + number_text(one["mean_dice"], 4) + ", surface Dice " +
                          number_text(one["mean_nsd"], 4) + ", HD95 " + number_text(one["mean_hd95"], 2) + " mm, " +
                          count_text(costs[i].parameters) + " parameters, " + count_text(costs[i].flops) + "FLOP, " +
                          duration_text(one["seconds_per_case"]) + " a case, " + bytes_text(one["peak_bytes"]) +
                          ", PT " + fixed(scores[i], 3)});
  }
  if (!arguments.csv.empty()) write_text(arguments.csv, csv_of(models));
  if (!arguments.markdown.empty()) write_text(arguments.markdown, table.markdown());
  if (!arguments.svg.empty()) write_text(arguments.svg, tradeoff_svg(points, arguments.title));
  if (arguments.common.json) {
    std::cout << ordered_json{{"models", models}}.dump(2) << "\n";
  } else {
    std::cout << table.text() << cases.size() << " cases; FLOPs of a patch; "
              << "time from files to labels\n";
  }
  return kDone;
}

}  // namespace

void add_tradeoff(CLI::App& program, Invocation& invocation) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App& command = *program.add_subcommand("tradeoff", kDescription);
  command.group("Models");
  command.footer(kFooter);
  command.add_option("-m,--model", arguments->models, "Model files (.safetensors)")
      ->type_name("MODEL...")
      ->required()
      ->group("Input");
  command.add_option("-i,--images", arguments->images, "Folder of images")
      ->type_name("FOLDER")
      ->required()
      ->group("Input");
  command.add_option("-r,--references", arguments->references, "Folder of labels that are right")
      ->type_name("FOLDER")
      ->required()
      ->group("Input");
  command.add_option("--step", arguments->step, "Distance of neighbouring tiles, as a fraction of the patch")
      ->type_name("FRACTION")
      ->capture_default_str()
      ->group("How to compare");
  command.add_flag("--tta", arguments->mirror, "Average over mirrored copies of each tile")->group("How to compare");
  command.add_option("--tolerance", arguments->tolerance, "Deviation of the surface that NSD accepts, in mm")
      ->type_name("MM")
      ->capture_default_str()
      ->group("How to compare");
  command.add_option("--weights", arguments->weights, "Weights A and B of the PT score")
      ->type_name("A,B")
      ->delimiter(',')
      ->default_str("1,1")
      ->group("How to compare");
  command.add_option("--csv", arguments->csv, "Also write all figures to this file")
      ->type_name("FILE.csv")
      ->group("Output");
  command.add_option("--markdown", arguments->markdown, "Also write the table to this file, as Markdown")
      ->type_name("FILE.md")
      ->group("Output");
  command.add_option("--svg", arguments->svg, "Also plot each measure of accuracy against each of cost")
      ->type_name("FILE.svg")
      ->group("Output");
  command.add_option("--title", arguments->title, "Title of the plot")
      ->type_name("TEXT")
      ->capture_default_str()
      ->group("Output");
  add_common_options(command, arguments->common, Json::yes);
  command.final_callback([arguments, &invocation] {
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
