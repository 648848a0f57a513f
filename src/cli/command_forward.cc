// e2enet forward: the bare network on one patch.
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cli/command_files.h"
#include "cli/commands.h"
#include "cli/network_run.h"
#include "cli/npy.h"
#include "cli/options.h"
#include "cli/text.h"
#include "e2enet/error.h"
#include "e2enet/inspect.h"
#include "e2enet/patch_runner.h"

namespace e2enet::cli {
namespace {

constexpr char kDescription[] =
    "Run the bare network on one patch\n"
    "\n"
    "Usage: e2enet forward -m MODEL -i X.npy -o Y.npy [OPTIONS]\n"
    "\n"
    "X.npy holds a prepared patch: float32, C order, (channels, D, H, W), or (D, H, W) for one channel, or a\n"
    "batch of one in front. D, H and W must be multiples of what the network's strides ask for. Y.npy gets\n"
    "the logits (classes, D, H, W) or, with --node, the output of node x[I][J]: level I, stage J.";

constexpr char kFooter[] =
    "Examples:\n"
    "  e2enet forward -m model.safetensors -i x.npy -o logits.npy\n"
    "  e2enet forward -m model.safetensors -i x.npy -o node.npy --node 2,0";

struct Arguments {
  CommonOptions common;
  NetworkOptions network;
  std::string input;
  std::string output;
  std::string node;
};

void require_node(const NetworkShape& network, const std::array<int, 2>& node, const std::string& text) {
  const int steps = static_cast<int>(network.pool_strides.size());
  if (node[0] + node[1] <= steps) return;
  throw UsageError("--node: expected I,J with I + J at most " + std::to_string(steps) + " in this network, found '" +
                   text + "'");
}

int run(const Arguments& arguments) {
  CommandFiles files;
  files.reads("--model", arguments.network.model);
  files.reads("--input", arguments.input);
  files.writes("--output", arguments.output);
  files.require_writable();
  PatchOptions options = patch_options(arguments.network, use_threads(arguments.common));
  Model model = Model::load(arguments.network.model);
  const int channels = model.input_channels();
  FloatArray input = read_npy(arguments.input);
  if (input.shape.size() == 5 && input.shape[0] == 1) input.shape.erase(input.shape.begin());  // a batch of one
  if (input.shape.size() == 3 && channels == 1) input.shape.insert(input.shape.begin(), 1);
  if (input.shape.size() != 4 || input.shape[0] != channels) {
    throw Error(ErrorCode::invalid_image, arguments.input + ": shape: expected (" + std::to_string(channels) +
                                              ", D, H, W), found (" + shape_text(input.shape) + ")");
  }
  for (std::size_t axis = 0; axis < 3; ++axis) {
    if (input.shape[axis + 1] < 1 || input.shape[axis + 1] > 65536) {
      throw Error(ErrorCode::invalid_image,
                  arguments.input + ": shape: expected extents from 1 to 65536, found " + shape_text(input.shape));
    }
    options.patch[axis] = static_cast<int>(input.shape[axis + 1]);
  }
  std::vector<std::int64_t> shape;
  std::vector<float> values;
  const std::array<int, 2> node = arguments.node.empty() ? std::array<int, 2>{} : parse_pair(arguments.node, "--node");
  if (!arguments.node.empty()) require_node(network_shape(model), node, arguments.node);
  PatchRunner runner(std::move(model), options);
  const auto make_room = [&] {
    std::int64_t count = 1;
    for (const std::int64_t extent : shape) count *= extent;
    values.resize(static_cast<std::size_t>(count));
  };
  if (arguments.node.empty()) {
    shape = {runner.classes(), options.patch[0], options.patch[1], options.patch[2]};
    make_room();
    runner.run(input.values.data(), values.data());
  } else {
    const std::array<std::int64_t, 4> of_node = runner.node_shape(node[0], node[1]);
    shape.assign(of_node.begin(), of_node.end());
    make_room();
    runner.run_to_node(input.values.data(), node[0], node[1], values.data());
  }
  stop_if_interrupted();
  write_npy(arguments.output, shape, values.data());
  if (!arguments.common.quiet) std::cout << arguments.output << ": " << shape_text(shape) << "\n";
  return kDone;
}

}  // namespace

void add_forward(CLI::App& program, Invocation& invocation) {
  const auto arguments = std::make_shared<Arguments>();
  Command command(program, "forward", kDescription, "For development", kFooter);
  command.add_option("-m,--model", arguments->network.model, "Model file (.safetensors)")
      .type_name("MODEL")
      .required()
      .group("Options");
  command.add_option("-i,--input", arguments->input, "Patch to read").type_name("X.npy").required().group("Options");
  command.add_option("-o,--output", arguments->output, "Array to write").type_name("Y.npy").required().group("Options");
  command.add_option("--node", arguments->node, "Write this node's output instead of the logits")
      .type_name("I,J")
      .group("Options");
  add_precision_option(command, arguments->network.precision, "Options");
  add_algorithm_option(command, arguments->network.algorithm, "Options");
  add_common_options(command, arguments->common, Json::no);
  command.on_parsed([arguments, &invocation] {
    if (!arguments->node.empty()) parse_pair(arguments->node, "--node");
    invocation.run = [arguments] { return run(*arguments); };
  });
}

}  // namespace e2enet::cli
