#include "model/random_model.h"

#include <cmath>
#include <map>
#include <random>

#include "e2enet/error.h"
#include "model/json_text.h"
#include "model/model_file.h"

namespace e2enet::model {
namespace {

// std::mt19937_64 is the same everywhere; the standard library's distributions are not.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  double uniform() { return (double(engine_() >> 11) + 0.5) / 9007199254740992.0; }
  double normal() { return std::sqrt(-2 * std::log(uniform())) * std::cos(6.283185307179586 * uniform()); }

 private:
  std::mt19937_64 engine_;
};

double read_density(const nlohmann::json& value, const std::string& source, const std::string& key) {
  if (!value.is_number() || !(value.get<double>() >= 0 && value.get<double>() <= 1)) {
    throw Error(ErrorCode::invalid_model,
                source + ": " + key + ": expected a number from 0 to 1, found " + value.dump());
  }
  return value.get<double>();
}

struct Densities {
  double all = 0.2;
  std::map<int, double> fusion_by_level;
};

Densities read_densities(const std::string& text, const std::string& source, int levels) {
  const JsonDocument document = parse_json(text, source);
  const nlohmann::json& json = document.value();
  Densities densities;
  if (json.contains("density")) densities.all = read_density(json["density"], source, "density");
  if (json.contains("fusion_density_by_level")) {
    const nlohmann::json& by_level = json["fusion_density_by_level"];
    for (const auto& [key, value] : by_level.items()) {
      const std::string name = "fusion_density_by_level." + printable(key);
      int level = 0;
      while (level < levels && std::to_string(level) != key) ++level;
      if (!by_level.is_object() || level == levels) {
        throw Error(ErrorCode::invalid_model, source + ": " + name + ": expected a level from 0 to " +
                                                  std::to_string(levels - 1) + " as the key, found " + printable(key));
      }
      densities.fusion_by_level[level] = read_density(value, source, name);
    }
  }
  return densities;
}

LayerValues make_layer(const LayerDescription& description, double density, Random& random) {
  LayerValues layer;
  const std::int64_t pairs = std::int64_t{description.outputs} * description.inputs();
  std::int64_t to_keep = description.sparse() ? std::llround(density * double(pairs)) : pairs;
  const double fan_in = std::max(1.0, double(to_keep) / description.outputs * description.taps());
  const double gain = description.kind == LayerKind::upward_transposed ? double(description.taps()) : 2.0;
  const double deviation = std::sqrt(gain / fan_in);
  for (std::int64_t pair = 0; pair < pairs; ++pair) {
    // Selection sampling: exactly to_keep of the pairs, each subset equally likely, in increasing order.
    if (description.sparse()) {
      if (random.uniform() * double(pairs - pair) >= double(to_keep)) continue;
      --to_keep;
      layer.connectivity.push_back(static_cast<std::int32_t>(pair / description.inputs()));
      layer.connectivity.push_back(static_cast<std::int32_t>(pair % description.inputs()));
    }
    for (int tap = 0; tap < description.taps(); ++tap) layer.values.push_back(float(deviation * random.normal()));
  }
  if (description.convolution()) {
    for (int output = 0; output < description.outputs; ++output) {
      layer.bias.push_back(float(0.1 * random.normal()));
      layer.norm_weight.push_back(float(1 + 0.2 * random.normal()));
      layer.norm_bias.push_back(float(0.2 * random.normal()));
    }
  }
  return layer;
}

}  // namespace

void write_random_model(const std::string& configuration_text, const std::string& source, std::uint64_t seed,
                        const std::string& path) {
  Configuration configuration = parse_configuration(configuration_text, source, false);
  const Architecture& architecture = configuration.architecture;
  const Densities densities = read_densities(configuration_text, source, architecture.pooling_steps());
  if (configuration.provenance == "{}") {
    configuration.provenance = R"({"seed":)" + std::to_string(seed) + R"(,"weights":"random, not trained"})";
  }
  const int heads = largest_head_count(architecture);
  Random random(seed);
  std::vector<LayerValues> layers;
  for (const LayerDescription& description : describe_layers(architecture, heads)) {
    double density = densities.all;
    const auto special = densities.fusion_by_level.find(description.node.level);
    if (description.kind == LayerKind::fusion_convolution && special != densities.fusion_by_level.end())
      density = special->second;
    layers.push_back(make_layer(description, density, random));
  }
  write_model_file(path, configuration, heads, layers);
}

}  // namespace e2enet::model
