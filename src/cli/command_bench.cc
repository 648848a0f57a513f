// e2enet bench: how long does a patch take?
#include <algorithm>
#include <chrono>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/process_memory.h"
#include "cli/commands.h"
#include "cli/network_run.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "e2enet/error.h"
#include "model/flops.h"
#include "model/model_file.h"

namespace e2enet::cli {
namespace {

constexpr char kDescription[] =
    "Measure the seconds for one patch, and the memory\n"
    "\n"
    "Usage: e2enet bench -m MODEL [--patch D,H,W] [--runs N] [OPTIONS]\n"
    "\n"
    "Runs the network on a patch of noise: once unmeasured, then N times. Peak memory is that of the whole\n"
    "process.";

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

int run(const Arguments& arguments) {
  const plan::PlanOptions options = plan_options(arguments.network, arguments.common.threads);
  use_threads(arguments.common);
  ProgressDisplay display(ProgressDisplay::style_for(arguments.common.quiet || arguments.common.json));
  auto model = model::load_model_file(arguments.network.model);
  const std::int64_t loaded = resident_without_kernels(*model);
  engine::Engine engine(*model, options);
  model.reset();  // packed
  const model::Network& network = engine.network();
  const model::Triple patch = engine.plan().patch;
  const std::vector<float> input = noise_patch(network.architecture().input_channels, patch);
  const kernels::PatchView view = view_of(input.data(), patch);
  DropLogits sink;

  std::vector<double> seconds;
  for (int i = -1; i < arguments.runs; ++i) {
    if (interrupted()) throw Error(ErrorCode::cancelled, "interrupted");
    display.update("measuring", i + 1, arguments.runs + 1, -1);
    const auto start = std::chrono::steady_clock::now();
    engine.run(view, sink);
    if (i >= 0) {
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
  }
  display.clear();
  const double least = *std::min_element(seconds.begin(), seconds.end());
  const model::Flops flops = model::count_flops(network, patch);
  const std::int64_t peak = peak_resident_bytes();
  const std::int64_t planned = planned_process_bytes(loaded, engine.plan(), network.architecture().input_channels);
  if (arguments.common.json) {
    nlohmann::ordered_json json;
    json["seconds_min"] = least;
    json["seconds_median"] = median(seconds);
    json["peak_bytes"] = peak;
    json["planned_peak_bytes"] = planned;
    json["seconds"] = seconds;
    json["patch"] = patch;
    json["threads"] = engine.plan().threads;
    json["precision"] = arguments.network.precision;
    json["instruction_set"] = kernels::instruction_set();
    json["flops_executed"] = flops.executed;
    json["flops_paper"] = flops.paper;
    std::cout << json_text(json) << "\n";
    return kDone;
  }
  std::cout << "patch        " << triple_text(patch) << ", " << arguments.network.precision << ", "
            << engine.plan().threads << (engine.plan().threads == 1 ? " thread, " : " threads, ")
            << kernels::instruction_set() << "\n"
            << "seconds      " << fixed(least, 4) << " min, " << fixed(median(seconds), 4) << " median of "
            << seconds.size() << (seconds.size() == 1 ? " run" : " runs") << "\n"
            << "speed        " << fixed(flops.executed / least * 1e-9, 1) << " GFLOP/s executed ("
            << count_text(flops.executed) << "FLOP)\n"
            << "peak memory  " << bytes_text(peak) << " of the process, " << bytes_text(planned) << " planned\n";
  return kDone;
}

}  // namespace

void add_bench(CLI::App& program, Invocation& invocation) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App& command = *program.add_subcommand("bench", kDescription);
  command.group("Models");
  command.footer(kFooter);
  command.add_option("-m,--model", arguments->network.model, "Model file (.safetensors)")
      ->type_name("MODEL")
      ->required()
      ->group("Options");
  add_patch_option(command, arguments->network.patch, "Options");
  command.add_option("--runs", arguments->runs, "Measured runs")
      ->type_name("N")
      ->capture_default_str()
      ->check(CLI::Range(1, 100000))
      ->group("Options");
  add_precision_option(command, arguments->network.precision, "Options");
  add_algorithm_option(command, arguments->network.algorithm, "Options");
  add_common_options(command, arguments->common, Json::yes);
  command.final_callback([arguments, &invocation] {
    if (!arguments->network.patch.empty()) parse_triple(arguments->network.patch, "--patch");
    invocation.run = [arguments] { return run(*arguments); };
  });
}

}  // namespace e2enet::cli
