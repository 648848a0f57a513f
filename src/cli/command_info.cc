// e2enet info: what is in a model file?
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/network_run.h"
#include "cli/text.h"
#include "model/configuration.h"
#include "model/flops.h"
#include "model/model_file.h"

namespace e2enet::cli {
namespace {

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

const char* kind_text(model::LayerKind kind) {
  switch (kind) {
    case model::LayerKind::backbone_convolution:
      return "backbone";
    case model::LayerKind::fusion_convolution:
      return "fusion";
    case model::LayerKind::upward_transposed:
      return "upward";
    case model::LayerKind::head:
      return "head";
  }
  return "";
}

std::string number_text(double value) {
  std::string text = fixed(value, 4);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

std::string normalization_text(const model::Normalization& normalization) {
  std::string text;
  switch (normalization.scheme) {
    case model::NormalizationScheme::ct:
      text = "CT";
      break;
    case model::NormalizationScheme::ct2:
      text = "CT2";
      break;
    case model::NormalizationScheme::non_ct:
      text = "nonCT";
      break;
    case model::NormalizationScheme::none:
      return "noNorm";
  }
  if (normalization.scheme != model::NormalizationScheme::non_ct) {
    text += ", clip " + number_text(normalization.clip_low) + " to " + number_text(normalization.clip_high);
  }
  if (normalization.scheme == model::NormalizationScheme::ct) {
    text += ", mean " + number_text(normalization.mean) + ", sd " + number_text(normalization.standard_deviation);
  }
  return text + (normalization.use_mask ? ", inside the mask" : "");
}

std::string strides_text(const std::vector<model::Triple>& strides) {
  std::string text;
  for (const model::Triple& stride : strides) {
    text += (text.empty() ? "" : ", ") + std::to_string(stride[0]) + "x" + std::to_string(stride[1]) + "x" +
            std::to_string(stride[2]);
  }
  return text;
}

// The provenance object, one line a value.
void print_provenance(const nlohmann::ordered_json& value, const std::string& indent) {
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
  const plan::PlanOptions options = plan_options(arguments.network, arguments.common.threads);
  const auto network = model::load_model_file(arguments.network.model);
  const model::Configuration& configuration = network->configuration();
  const model::Architecture& architecture = network->architecture();
  const model::Triple patch = patch_of(*network, options);
  const std::int64_t loaded = resident_without_kernels(*network);
  const plan::Plan plan(*network, options);
  const model::Flops flops = model::count_flops(*network, patch);
  const std::int64_t parameters = model::count_parameters(*network);
  const auto of_network = static_cast<std::int64_t>(plan.peak_bytes());
  const std::int64_t peak = planned_process_bytes(loaded, plan, architecture.input_channels);

  if (arguments.common.json) {
    nlohmann::ordered_json json;
    json["model"] = arguments.network.model;
    json["parameters"] = parameters;
    json["flops_paper"] = flops.paper;
    json["flops_executed"] = flops.executed;
    json["planned_peak_bytes"] = peak;
    json["planned_network_bytes"] = of_network;
    json["patch"] = patch;
    json["threads"] = plan.threads;
    json["precision"] = arguments.network.precision;
    json["instruction_set"] = kernels::instruction_set();
    json["configuration"] = nlohmann::ordered_json::parse(model::configuration_text(configuration));
    json["layers"] = nlohmann::ordered_json::array();
    for (const model::Layer& layer : network->layers()) {
      const model::Flops of_layer = model::count_flops(*network, layer, patch);
      nlohmann::ordered_json entry;
      entry["name"] = layer.description.name;
      entry["kind"] = kind_text(layer.description.kind);
      entry["inputs"] = layer.description.inputs();
      entry["outputs"] = layer.description.outputs;
      entry["kept_kernels"] = layer.kept();
      entry["density"] = layer.density();
      entry["parameters"] = layer.parameters();
      entry["flops_paper"] = of_layer.paper;
      entry["flops_executed"] = of_layer.executed;
      json["layers"].push_back(std::move(entry));
    }
    std::cout << json_text(json) << "\n";
    return kDone;
  }

  const int levels = architecture.pooling_steps();
  std::string features;
  for (int level = 0; level <= levels; ++level) {
    features += (level ? ", " : "") + std::to_string(architecture.features(level));
  }
  std::string labels;
  for (const auto& [value, name] : configuration.labels) {
    labels += (labels.empty() ? "" : ", ") + std::to_string(value) + " " + name;
  }
  const model::Preprocessing& preprocessing = configuration.preprocessing;
  std::cout << arguments.network.model << "\n"
            << "network        E2ENet, " << levels << (levels == 1 ? " pooling step" : " pooling steps") << " ("
            << strides_text(architecture.pool_strides) << "), depth shift in " << architecture.groups << " groups\n"
            << "features       " << features << "\n"
            << "input          " << architecture.input_channels
            << (architecture.input_channels == 1 ? " channel" : " channels") << ", patch "
            << triple_text(architecture.patch_size) << "\n"
            << "output         " << architecture.classes
            << (configuration.output == model::OutputKind::softmax ? " classes" : " regions") << "\n"
            << "labels         " << labels << "\n"
            << "spacing        ";
  if (preprocessing.spacing) {
    const auto& s = *preprocessing.spacing;
    std::cout << number_text(s[0]) << " x " << number_text(s[1]) << " x " << number_text(s[2]) << " mm\n";
  } else {
    std::cout << "the image's own\n";
  }
  std::cout << "orientation    " << (preprocessing.orientation.empty() ? "the image's own" : preprocessing.orientation)
            << "\n";
  for (std::size_t channel = 0; channel < preprocessing.normalization.size(); ++channel) {
    std::cout << (channel == 0 ? "normalisation  " : "               ")
              << normalization_text(preprocessing.normalization[channel]) << "\n";
  }
  std::cout << "parameters     " << count_text(static_cast<double>(parameters)) << " (" << parameters << ")\n"
            << "FLOPs          " << count_text(flops.paper) << " paper, " << count_text(flops.executed)
            << " executed, for a patch of " << triple_text(patch) << "\n"
            << "peak memory    " << bytes_text(peak) << " planned for a patch (" << bytes_text(of_network)
            << " of them for the network), " << arguments.network.precision << ", " << plan.threads
            << (plan.threads == 1 ? " thread" : " threads") << "\n"
            << "runs with      " << kernels::instruction_set() << "\n";
  if (!configuration.provenance.empty()) {
    const auto provenance = nlohmann::ordered_json::parse(configuration.provenance);
    if (!provenance.empty()) {
      std::cout << "provenance\n";
      print_provenance(provenance, "  ");
    }
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
  for (const model::Layer& layer : network->layers()) {
    const model::Flops of_layer = model::count_flops(*network, layer, patch);
    table.add({layer.description.name, kind_text(layer.description.kind), std::to_string(layer.description.inputs()),
               std::to_string(layer.description.outputs), std::to_string(layer.kept()), fixed(layer.density(), 3),
               std::to_string(layer.parameters()), fixed(of_layer.paper * 1e-9, 3),
               fixed(of_layer.executed * 1e-9, 3)});
  }
  std::cout << "\n" << table.text();
  return kDone;
}

}  // namespace

void add_info(CLI::App& program, Invocation& invocation) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App& command = *program.add_subcommand("info", kDescription);
  command.group("Models");
  command.footer(kFooter);
  command.add_option("model", arguments->network.model, "Model file (.safetensors)")
      ->type_name("MODEL")
      ->required()
      ->group("Options");
  add_patch_option(command, arguments->network.patch, "Options");
  add_precision_option(command, arguments->network.precision, "Options");
  add_common_options(command, arguments->common, Json::yes);
  command.final_callback([arguments, &invocation] {
    if (!arguments->network.patch.empty()) parse_triple(arguments->network.patch, "--patch");
    invocation.run = [arguments] { return run(*arguments); };
  });
}

}  // namespace e2enet::cli
