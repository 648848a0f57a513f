// A configuration as a model file's JSON. Keys stand in the order of their letters.
#include <algorithm>
#include <utility>

#include "e2enet/error.h"
#include "model/configuration.h"
#include "model/json_writer.h"

namespace e2enet::model {
namespace {

// Label values as keys of an object.
template <typename Value>
std::vector<std::pair<std::string, const Value*>> sorted_keys(const std::map<int, Value>& values) {
  std::vector<std::pair<std::string, const Value*>> keys;
  for (const auto& [value, of_value] : values) keys.emplace_back(std::to_string(value), &of_value);
  std::sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return keys;
}

template <typename Values>
void write_array(JsonWriter& json, const Values& values) {
  json.begin_array();
  for (const auto& one : values) json.value(one);
  json.end_array();
}

void write_range(JsonWriter& json, const Range& range) {
  write_array(json, std::array<double, 2>{range.low, range.high});
}

void write_pool_strides(JsonWriter& json, const Architecture& architecture) {
  json.key("pool_strides").begin_array();
  for (const Stride& stride : architecture.pool_strides) write_array(json, std::array<int, 3>(stride));
  json.end_array();
}

void write_label_concepts(JsonWriter& json, const std::map<int, LabelConcept>& concepts) {
  if (concepts.empty()) return;
  json.key("label_concepts").begin_object();
  for (const auto& [key, meaning] : sorted_keys(concepts)) {
    json.key(key).begin_object();
    if (!meaning->category[0].empty()) json.array("category", meaning->category);
    if (meaning->color) json.array("color", *meaning->color);
    if (!meaning->type[0].empty()) json.array("type", meaning->type);
    json.end_object();
  }
  json.end_object();
}

void write_labels(JsonWriter& json, const std::map<int, std::string>& labels) {
  if (labels.empty()) return;
  json.key("labels").begin_object();
  for (const auto& [key, name] : sorted_keys(labels)) json.key(key).value(*name);
  json.end_object();
}

void write_mirrored_labels(JsonWriter& json, const std::vector<std::array<int, 2>>& pairs) {
  if (pairs.empty()) return;
  json.key("mirrored_labels").begin_array();
  for (const std::array<int, 2>& pair : pairs) write_array(json, pair);
  json.end_array();
}

void write_preprocessing(JsonWriter& json, const Preprocessing& preprocessing) {
  json.key("preprocessing").begin_object();
  json.key("normalization").begin_array();
  for (const Normalization& channel : preprocessing.normalization) {
    const NormalizationSchemeEntry& scheme = entry_of(channel.scheme);
    json.begin_object();
    if (scheme.bounds) json.array("clip", std::array<double, 2>{channel.clip_low, channel.clip_high});
    if (scheme.moments) json.member("mean", channel.mean);
    json.member("scheme", scheme.name);
    if (scheme.moments) json.member("sd", channel.standard_deviation);
    json.member("use_mask", channel.use_mask);
    json.end_object();
  }
  json.end_array();
  if (!preprocessing.orientation.empty()) json.member("orientation", preprocessing.orientation);
  if (preprocessing.spacing) json.array("spacing", *preprocessing.spacing);
  json.array("transpose_forward", preprocessing.transpose_forward);
  json.end_object();
}

void write_training_images(JsonWriter& json, const TrainingImages& images) {
  json.key("training_images").begin_object();
  json.key("extent_mm").begin_array();
  for (const Range& extent : images.extent_mm) write_range(json, extent);
  json.end_array();
  json.key("input_quantiles").begin_array();
  for (const auto& channel : images.quantiles) {
    json.begin_array();
    for (const Range& quantile : channel) write_range(json, quantile);
    json.end_array();
  }
  json.end_array();
  json.key("volumes_ml").begin_object();
  for (const auto& [key, volume] : sorted_keys(images.volumes_ml)) {
    json.key(key);
    write_range(json, *volume);
  }
  json.end_object();
  json.end_object();
}

}  // namespace

const NormalizationSchemeEntry& entry_of(NormalizationScheme scheme) {
  for (const NormalizationSchemeEntry& one : kNormalizationSchemes) {
    if (one.scheme == scheme) return one;
  }
  throw Error(ErrorCode::internal, "a normalisation without a name");
}

std::string configuration_text(const Configuration& configuration) {
  const Architecture& architecture = configuration.architecture;
  const bool regions = configuration.output == OutputKind::sigmoid;
  JsonWriter json;
  json.begin_object();
  if (!configuration.algorithm_name.empty()) json.member("algorithm_name", configuration.algorithm_name);
  json.member("base_features", architecture.base_features);
  json.member("classes", architecture.classes);
  json.member("format_version", 1);
  json.member("groups", architecture.groups);
  json.member("input_channels", architecture.input_channels);
  write_label_concepts(json, configuration.label_concepts);
  write_labels(json, configuration.labels);
  json.member("max_features", architecture.max_features);
  json.array("mirror_axes", configuration.mirror_axes);
  write_mirrored_labels(json, configuration.mirrored_labels);
  if (regions) json.member("output", "sigmoid");
  json.array("patch_size", std::array<int, 3>(architecture.patch_size));
  write_pool_strides(json, architecture);
  if (!configuration.largest_component.empty()) {
    json.key("postprocessing").begin_object();
    json.array("largest_component", configuration.largest_component);
    json.end_object();
  }
  write_preprocessing(json, configuration.preprocessing);
  json.key("provenance").raw(configuration.provenance);
  if (regions) json.array("region_order", configuration.region_order);
  if (configuration.training_images) write_training_images(json, *configuration.training_images);
  json.end_object();
  return json.text();
}

}  // namespace e2enet::model
