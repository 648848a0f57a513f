// e2enet random: a model file with random weights, for benchmarks.
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>

#include "cli/command_files.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "e2enet/files.h"
#include "e2enet/inspect.h"

namespace e2enet::cli {
namespace {

constexpr char kDescription[] =
    "Write a model file with random weights, for benchmarks\n"
    "\n"
    "Usage: e2enet random -o MODEL --config FILE.json [--seed N]\n"
    "\n"
    "The configuration is a JSON object with the keys of docs/model-file.md: input_channels, classes,\n"
    "base_features, pool_strides, patch_size, ...; `density` is the kept fraction of the kernels of every\n"
    "sparse layer (0.2 if absent), `fusion_density_by_level` replaces it for the fusion convolutions of a\n"
    "level. The same configuration and seed give the same file.";

constexpr char kFooter[] =
    "Examples:\n"
    "  The network of the paper for AMOS-CT, sparsity 0.8:\n"
    "    cat > amos.json <<END\n"
    "    {\"input_channels\": 1, \"classes\": 16, \"base_features\": 48, \"patch_size\": [128, 128, 128],\n"
    "     \"pool_strides\": [[2,2,2],[2,2,2],[2,2,2],[2,2,2],[2,2,2]], \"density\": 0.2}\n"
    "    END\n"
    "    e2enet random -o amos.safetensors --config amos.json --seed 1";

struct Arguments {
  CommonOptions common;
  std::string output;
  std::string configuration;
  std::uint64_t seed = 0;
};

int run(const Arguments& arguments) {
  CommandFiles files;
  files.reads("--config", arguments.configuration);
  files.writes("--output", arguments.output);
  files.require_writable();
  const std::string text = read_text_file(arguments.configuration);
  write_random_model(text, arguments.configuration, arguments.seed, arguments.output);
  if (!arguments.common.quiet) std::cout << arguments.output << "\n";
  return kDone;
}

}  // namespace

void add_random(CLI::App& program, Invocation& invocation) {
  const auto arguments = std::make_shared<Arguments>();
  Command command(program, "random", kDescription, "For development", kFooter);
  command.add_option("-o,--output", arguments->output, "Model file to write (.safetensors)")
      .type_name("MODEL")
      .required()
      .group("Options");
  command.add_option("--config", arguments->configuration, "Architecture and density")
      .type_name("FILE.json")
      .required()
      .group("Options");
  command.add_option("--seed", arguments->seed, "Seed of the random numbers")
      .type_name("N")
      .show_default()
      .group("Options");
  add_common_options(command, arguments->common, Json::no);
  command.on_parsed([arguments, &invocation] { invocation.run = [arguments] { return run(*arguments); }; });
}

}  // namespace e2enet::cli
