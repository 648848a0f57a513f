// e2enet profile: where does the time of a patch go?
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/network_run.h"
#include "cli/options.h"
#include "cli/text.h"
#include "e2enet/inspect.h"
#include "e2enet/json.h"
#include "e2enet/machine.h"
#include "e2enet/patch_runner.h"

namespace e2enet::cli {
namespace {

constexpr char kDescription[] =
    "Run one patch and show each layer: kernel, density, FLOPs, time, speed, bytes\n"
    "\n"
    "Usage: e2enet profile -m MODEL [--patch D,H,W] [OPTIONS]\n"
    "\n"
    "FLOPs are counted in two conventions (docs/flops.md). `paper`: that of the published figures, with\n"
    "biases, and transposed convolutions at their output's size. `executed`: the multiply-adds of the kept\n"
    "kernels. GFLOP/s and totals of time use `executed`. Bytes are what a layer must read and write at\n"
    "least once. Times are those of the second of two runs.";

constexpr char kFooter[] =
    "Examples:\n"
    "  e2enet profile -m models/hippocampus_density20.safetensors\n"
    "  e2enet profile -m model.safetensors --patch 64,160,160 --json";

struct Arguments {
  CommonOptions common;
  NetworkOptions network;
};

int run(const Arguments& arguments) {
  const PatchOptions options = patch_options(arguments.network, use_threads(arguments.common));
  PatchRunner runner(Model::load(arguments.network.model), options);
  const std::array<int, 3> patch = runner.patch();
  const std::vector<float> input = noise_patch(runner.input_channels(), patch);
  runner.run(input.data(), nullptr);  // touches all memory for the first time
  runner.run(input.data(), nullptr);
  if (arguments.common.json) {
    std::cout << json_text(parsed(profile_json(runner))) << "\n";
    return kDone;
  }

  const std::vector<StepTime> steps = runner.step_times();
  const std::int64_t peak = peak_resident_bytes();
  const std::int64_t planned = runner.planned_process_bytes();
  double seconds = 0, bytes = 0;
  for (const StepTime& step : steps) {
    seconds += step.seconds;
    bytes += step.bytes;
  }

  Table table({{"layer", Align::left},
               {"kernel", Align::left},
               {"density"},
               {"paper GFLOP"},
               {"executed GFLOP"},
               {"ms"},
               {"share"},
               {"GFLOP/s"},
               {"MiB"},
               {"why this kernel", Align::left}});
  const auto giga = [](double value) { return value > 0 ? fixed(value * 1e-9, 3) : std::string(); };
  for (const StepTime& step : steps) {
    table.add({step.name, step.kernel, step.flops_executed > 0 ? fixed(step.density, 3) : "", giga(step.flops_paper),
               giga(step.flops_executed), fixed(step.seconds * 1e3, 2), fixed(100 * step.seconds / seconds, 1) + "%",
               step.flops_executed > 0 && step.seconds > 0 ? fixed(step.flops_executed / step.seconds * 1e-9, 1) : "",
               step.bytes > 0 ? fixed(step.bytes / 1048576, 1) : "", step.reason});
  }
  table.add_rule();
  table.add({"total", "", "", giga(runner.flops_paper()), giga(runner.flops_executed()), fixed(seconds * 1e3, 2),
             "100%", fixed(runner.flops_executed() / seconds * 1e-9, 1), fixed(bytes / 1048576, 1), ""});
  std::cout << table.text() << "\n"
            << "patch        " << triple_text(patch) << ", " << arguments.network.precision << ", " << runner.threads()
            << (runner.threads() == 1 ? " thread, " : " threads, ") << instruction_set() << "\n"
            << "parameters   " << count_text(static_cast<double>(runner.parameters())) << "\n"
            << "FLOPs        " << count_text(runner.flops_paper()) << " paper, " << count_text(runner.flops_executed())
            << " executed\n"
            << "peak memory  " << bytes_text(peak) << " of the process, " << bytes_text(planned) << " planned\n";
  return kDone;
}

}  // namespace

void add_profile(CLI::App& program, Invocation& invocation) {
  const auto arguments = std::make_shared<Arguments>();
  Command command(program, "profile", kDescription, "Models", kFooter);
  command.add_option("-m,--model", arguments->network.model, "Model file (.safetensors)")
      .type_name("MODEL")
      .required()
      .group("Options");
  add_patch_option(command, arguments->network.patch, "Options");
  add_precision_option(command, arguments->network.precision, "Options");
  add_algorithm_option(command, arguments->network.algorithm, "Options");
  add_common_options(command, arguments->common, Json::yes);
  command.on_parsed([arguments, &invocation] {
    if (!arguments->network.patch.empty()) parse_triple(arguments->network.patch, "--patch");
    invocation.run = [arguments] { return run(*arguments); };
  });
}

}  // namespace e2enet::cli
