// e2enet bench: how long does a patch take?
#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/network_run.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "e2enet/error.h"
#include "e2enet/inspect.h"
#include "e2enet/machine.h"
#include "e2enet/patch_runner.h"

namespace e2enet::cli {
namespace {

constexpr char kDescription[] =
    "Measure the seconds for one patch, and the memory\n"
    "\n"
    "Usage: e2enet bench -m MODEL [--patch D,H,W] [--runs N] [OPTIONS]\n"
    "\n"
    "Runs the network on a patch of noise: once to warm up, then N times. Peak memory is that of the whole\n"
    "process. Before that: reading the model, planning and packing its kernels, and the first patch, whose memory\n"
    "the system has yet to give.";

constexpr char kFooter[] =
    "Examples:\n"
    "  e2enet bench -m models/hippocampus_density20.safetensors --runs 20\n"
    "  e2enet bench -m model.safetensors --patch 96,160,160 --threads 1 --json";

struct Arguments {
  CommonOptions common;
  NetworkOptions network;
  int runs = 5;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

class Stopwatch {
 public:
  // Since it was made, or since this was called last.
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - start_).count();
    start_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

int run(const Arguments& arguments) {
  const PatchOptions options = patch_options(arguments.network, use_threads(arguments.common));
  ProgressDisplay display(ProgressDisplay::style_for(arguments.common.quiet || arguments.common.json));
  Stopwatch stopwatch;
  Model model = Model::load(arguments.network.model);
  const double seconds_load = stopwatch.lap();
  PatchRunner runner(std::move(model), options);
  const double seconds_plan = stopwatch.lap();
  const std::array<int, 3> patch = runner.patch();
  const std::vector<float> input = noise_patch(runner.input_channels(), patch);

  double seconds_first = 0;
  std::vector<double> seconds;
  for (int i = -1; i < arguments.runs; ++i) {
    if (interrupted()) throw Error(ErrorCode::cancelled, "interrupted");
    display.update("measuring", i + 1, arguments.runs + 1, -1);
    stopwatch.lap();
    runner.run(input.data(), nullptr);
    const double taken = stopwatch.lap();
    if (i < 0) {
      seconds_first = taken;
    } else {
      seconds.push_back(taken);
    }
  }
  display.clear();
  const double least = *std::min_element(seconds.begin(), seconds.end());
  const std::int64_t peak = peak_resident_bytes();
  const std::int64_t planned = runner.planned_process_bytes();
  if (arguments.common.json) {
    nlohmann::ordered_json json;
    json["seconds_min"] = least;
    json["seconds_median"] = median(seconds);
    json["peak_bytes"] = peak;
    json["planned_peak_bytes"] = planned;
    json["seconds"] = seconds;
    json["seconds_load"] = seconds_load;
    json["seconds_plan"] = seconds_plan;
    json["seconds_first"] = seconds_first;
    json["patch"] = patch;
    json["threads"] = runner.threads();
    json["precision"] = arguments.network.precision;
    json["instruction_set"] = instruction_set();
    json["flops_executed"] = runner.flops_executed();
    json["flops_paper"] = runner.flops_paper();
    std::cout << json_text(json) << "\n";
    return kDone;
  }
  std::cout << "patch        " << triple_text(patch) << ", " << arguments.network.precision << ", " << runner.threads()
            << (runner.threads() == 1 ? " thread, " : " threads, ") << instruction_set() << "\n"
            << "seconds      " << fixed(least, 4) << " min, " << fixed(median(seconds), 4) << " median of "
            << seconds.size() << (seconds.size() == 1 ? " run" : " runs") << "\n"
            << "before it    " << fixed(seconds_load, 4) << " to load the model, " << fixed(seconds_plan, 4)
            << " to plan and pack; first patch " << fixed(seconds_first, 4) << "\n"
            << "speed        " << fixed(runner.flops_executed() / least * 1e-9, 1) << " GFLOP/s executed ("
            << count_text(runner.flops_executed()) << "FLOP)\n"
            << "peak memory  " << bytes_text(peak) << " of the process, " << bytes_text(planned) << " planned\n";
  return kDone;
}

}  // namespace

void add_bench(CLI::App& program, Invocation& invocation) {
  const auto arguments = std::make_shared<Arguments>();
  Command command(program, "bench", kDescription, "Models", kFooter);
  command.add_option("-m,--model", arguments->network.model, "Model file (.safetensors)")
      .type_name("MODEL")
      .required()
      .group("Options");
  add_patch_option(command, arguments->network.patch, "Options");
  command.add_option("--runs", arguments->runs, "Measured runs")
      .type_name("N")
      .show_default()
      .range(1, 100000)
      .group("Options");
  add_precision_option(command, arguments->network.precision, "Options");
  add_algorithm_option(command, arguments->network.algorithm, "Options");
  add_common_options(command, arguments->common, Json::yes);
  command.on_parsed([arguments, &invocation] {
    if (!arguments->network.patch.empty()) parse_triple(arguments->network.patch, "--patch");
    invocation.run = [arguments] { return run(*arguments); };
  });
}

}  // namespace e2enet::cli
