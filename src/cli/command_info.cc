// e2enet info: what is in a model file?
#include <array>
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

namespace e2enet::cli {
namespace {

using nlohmann::ordered_json;

constexpr char kDescription[] =
    "Show what is in a model file\n"
    "\n"
    "Usage: e2enet info MODEL [OPTIONS]\n"
    "\n"
    "Architecture, labels, preparation of images, density of each layer, parameters, FLOPs of a patch in\n"
    "both conventions (docs/flops.md), memory that inference will need, and where the model comes from.";

constexpr char kFooter[] =
    "Examples:\n"
    "  e2enet info models/hippocampus_density20.safetensors\n"
    "  e2enet info model.safetensors --json | jq .flops_executed";

struct Arguments {
  CommonOptions common;
  NetworkOptions network;
};

std::string number_text(double value) {
  std::string text = fixed(value, 4);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

// One entry of the configuration's `normalization`.
std::string normalization_text(const ordered_json& normalization) {
  std::string text = normalization["scheme"].get<std::string>();
  if (text == "noNorm") return text;
  if (normalization.contains("clip")) {
    text += ", clip " + number_text(normalization["clip"][0]) + " to " + number_text(normalization["clip"][1]);
  }
  if (normalization.contains("mean")) {
    text += ", mean " + number_text(normalization["mean"]) + ", sd " + number_text(normalization["sd"]);
  }
  return text + (normalization["use_mask"].get<bool>() ? ", inside the mask" : "");
}

std::string strides_text(const std::vector<std::array<int, 3>>& strides) {
  std::string text;
  for (const std::array<int, 3>& stride : strides) {
    text += (text.empty() ? "" : ", ") + std::to_string(stride[0]) + "x" + std::to_string(stride[1]) + "x" +
            std::to_string(stride[2]);
  }
  return text;
}

// The provenance object, one line a value.
void print_provenance(const ordered_json& value, const std::string& indent) {
  for (const auto& [key, item] : value.items()) {
    if (item.is_object()) {
      std::cout << indent << key << ":\n";
      print_provenance(item, indent + "  ");
    } else {
      std::cout << indent << key << ": " << (item.is_string() ? item.get<std::string>() : item.dump()) << "\n";
    }
  }
}

int run(const Arguments& arguments) {
  const Model model = Model::load(arguments.network.model);
  const PatchOptions options = patch_options(arguments.network, arguments.common.threads);
  if (arguments.common.json) {
    std::cout << json_text(parsed(model_json(model, options))) << "\n";
    return kDone;
  }

  const NetworkPlan plan = plan_network(model, options);
  const std::vector<LayerInfo> all_layers = layers(model, plan.patch);
  const ordered_json configuration = parsed(model.configuration_json());
  const NetworkShape network = network_shape(model);
  const std::size_t levels = network.pool_strides.size();
  std::string features;
  for (const int of_level : network.features) features += (features.empty() ? "" : ", ") + std::to_string(of_level);
  std::string labels;
  for (const auto& [value, name] : model.labels()) {
    labels += (labels.empty() ? "" : ", ") + std::to_string(value) + " " + name;
  }
  const ordered_json& preprocessing = configuration["preprocessing"];
  std::cout << arguments.network.model << "\n"
            << "network        E2ENet, " << levels << (levels == 1 ? " pooling step" : " pooling steps") << " ("
            << strides_text(network.pool_strides) << "), depth shift in " << network.depth_shift_groups << " groups\n"
            << "features       " << features << "\n"
            << "input          " << model.input_channels() << (model.input_channels() == 1 ? " channel" : " channels")
            << ", patch " << triple_text(model.patch_size()) << "\n"
            << "output         " << model.classes() << (network.regions ? " regions" : " classes") << "\n"
            << "labels         " << labels << "\n"
            << "spacing        ";
  if (preprocessing.contains("spacing")) {
    const ordered_json& s = preprocessing["spacing"];
    std::cout << number_text(s[0]) << " x " << number_text(s[1]) << " x " << number_text(s[2]) << " mm\n";
  } else {
    std::cout << "the image's own\n";
  }
  std::cout << "orientation    " << preprocessing.value("orientation", std::string("the image's own")) << "\n";
  for (std::size_t channel = 0; channel < preprocessing["normalization"].size(); ++channel) {
    std::cout << (channel == 0 ? "normalisation  " : "               ")
              << normalization_text(preprocessing["normalization"][channel]) << "\n";
  }
  std::cout << "parameters     " << count_text(static_cast<double>(model.parameters())) << " (" << model.parameters()
            << ")\n"
            << "FLOPs          " << count_text(plan.flops_paper) << " paper, " << count_text(plan.flops_executed)
            << " executed, for a patch of " << triple_text(plan.patch) << "\n"
            << "peak memory    " << bytes_text(plan.process_bytes) << " planned for a patch ("
            << bytes_text(plan.network_bytes) << " of them for the network), " << arguments.network.precision << ", "
            << plan.threads << (plan.threads == 1 ? " thread" : " threads") << "\n"
            << "runs with      " << instruction_set() << "\n";
  if (configuration.contains("provenance") && !configuration["provenance"].empty()) {
    std::cout << "provenance\n";
    print_provenance(configuration["provenance"], "  ");
  }

  Table table({{"layer", Align::left},
               {"kind", Align::left},
               {"inputs"},
               {"outputs"},
               {"kernels"},
               {"density"},
               {"parameters"},
               {"paper GFLOP"},
               {"executed GFLOP"}});
  for (const LayerInfo& layer : all_layers) {
    table.add({layer.name, layer.kind, std::to_string(layer.inputs), std::to_string(layer.outputs),
               std::to_string(layer.kept_kernels), fixed(layer.density, 3), std::to_string(layer.parameters),
               fixed(layer.flops_paper * 1e-9, 3), fixed(layer.flops_executed * 1e-9, 3)});
  }
  std::cout << "\n" << table.text();
  return kDone;
}

}  // namespace

void add_info(CLI::App& program, Invocation& invocation) {
  const auto arguments = std::make_shared<Arguments>();
  Command command(program, "info", kDescription, "Models", kFooter);
  command.add_option("model", arguments->network.model, "Model file (.safetensors)")
      .type_name("MODEL")
      .required()
      .group("Options");
  add_patch_option(command, arguments->network.patch, "Options");
  add_precision_option(command, arguments->network.precision, "Options");
  add_common_options(command, arguments->common, Json::yes);
  command.on_parsed([arguments, &invocation] {
    if (!arguments->network.patch.empty()) parse_triple(arguments->network.patch, "--patch");
    invocation.run = [arguments] { return run(*arguments); };
  });
}

}  // namespace e2enet::cli
