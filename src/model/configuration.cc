#include "model/configuration.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>

#include "e2enet/error.h"
#include "model/json_text.h"

namespace e2enet::model {
namespace {

using Json = nlohmann::json;

std::string shortened(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

// A value of the configuration together with its path, so that every complaint can name where it stands.
class Field {
 public:
  Field(const Json& value, std::string path, const std::string& source)
      : value_(value), path_(std::move(path)), source_(source) {}

  [[noreturn]] void refuse(const std::string& expected) const {
    throw Error(ErrorCode::invalid_model,
                source_ + ": " + path_ + ": expected " + expected + ", found " + shortened(value_));
  }

  bool has(const char* key) const {
    if (!value_.is_object()) refuse("an object");
    const auto at = value_.find(key);
    return at != value_.end() && !at->is_null();
  }
  Field at(const char* key) const {
    if (!has(key)) {
      throw Error(ErrorCode::invalid_model, source_ + ": " + path_ + ": expected the key \"" + key + "\", found none");
    }
    return {value_.at(key), path_ + "." + key, source_};
  }
  Field at(std::size_t index) const { return {value_.at(index), path_ + "[" + std::to_string(index) + "]", source_}; }

  std::size_t list_size(std::size_t least, std::size_t most) const {
    if (!value_.is_array() || value_.size() < least || value_.size() > most) {
      refuse(least == most ? "a list of " + std::to_string(least)
                           : "a list of " + std::to_string(least) + " to " + std::to_string(most));
    }
    return value_.size();
  }
  int integer(int least, int most) const {
    const bool fits = value_.is_number_integer() &&
                      (value_.is_number_unsigned() ? value_.get<std::uint64_t>() <= std::uint64_t(INT32_MAX)
                                                   : value_.get<std::int64_t>() >= INT32_MIN);
    if (!fits || value_.get<std::int64_t>() < least || value_.get<std::int64_t>() > most) {
      refuse("an integer from " + std::to_string(least) + " to " + std::to_string(most));
    }
    return value_.get<int>();
  }
  double number() const {
    if (!value_.is_number() || !std::isfinite(value_.get<double>())) refuse("a finite number");
    return value_.get<double>();
  }
  bool boolean() const {
    if (!value_.is_boolean()) refuse("true or false");
    return value_.get<bool>();
  }
  std::string text() const {
    if (!value_.is_string()) refuse("a text");
    return value_.get<std::string>();
  }
  std::array<int, 3> integers(int least, int most) const {
    list_size(3, 3);
    return {at(std::size_t{0}).integer(least, most), at(1).integer(least, most), at(2).integer(least, most)};
  }
  const Json& value() const { return value_; }

 private:
  const Json& value_;
  std::string path_;
  const std::string& source_;
};

// What a DICOM attribute of at most 64 letters can hold.
std::string short_text(const Field& field, std::size_t most = 64) {
  const std::string text = field.text();
  const auto letters = std::count_if(text.begin(), text.end(), [](unsigned char c) { return (c & 0xc0) != 0x80; });
  const bool plain =
      std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 32 || c == 127 || c == '\\'; });
  if (text.empty() || static_cast<std::size_t>(letters) > most || !plain) {
    field.refuse("a text of 1 to " + std::to_string(most) + " letters without a backslash");
  }
  return text;
}

// Far above any network that was ever trained, and low enough that no product of them overflows 64 bits.
constexpr int kMostChannels = 16384;
constexpr int kMostPoolingSteps = 12;
constexpr int kMostPatch = 4096;
constexpr std::int64_t kMostPatchVoxels = std::int64_t{1} << 31;
constexpr int kLargestLabel = 32767;  // labels are written as int16 at most

Architecture read_architecture(const Field& root) {
  Architecture architecture;
  architecture.input_channels = root.at("input_channels").integer(1, kMostChannels);
  architecture.classes = root.at("classes").integer(1, kLargestLabel);
  architecture.base_features = root.at("base_features").integer(1, kMostChannels);
  if (root.has("max_features")) architecture.max_features = root.at("max_features").integer(1, kMostChannels);
  if (root.has("groups")) architecture.groups = root.at("groups").integer(1, 255);
  if (architecture.groups % 2 == 0) root.at("groups").refuse("an odd number of depth-shift groups");

  const Field strides = root.at("pool_strides");
  const std::size_t steps = strides.list_size(1, kMostPoolingSteps);
  for (std::size_t i = 0; i < steps; ++i) architecture.pool_strides.push_back(strides.at(i).integers(1, 16));

  const Field patch = root.at("patch_size");
  architecture.patch_size = patch.integers(1, kMostPatch);
  std::array<std::int64_t, 3> multiple{1, 1, 1};
  std::int64_t voxels = 1;
  for (int axis = 0; axis < 3; ++axis) {
    voxels *= architecture.patch_size[axis];
    for (const Stride& stride : architecture.pool_strides) {
      multiple[axis] *= stride[axis];
      if (multiple[axis] > kMostPatch) strides.refuse("strides whose product is at most " + std::to_string(kMostPatch));
    }
    if (architecture.patch_size[axis] % multiple[axis] != 0) {
      patch.refuse("a multiple of the strides' product, " + std::to_string(multiple[axis]) + " on axis " + "DHW"[axis]);
    }
  }
  if (voxels > kMostPatchVoxels) patch.refuse("at most " + std::to_string(kMostPatchVoxels) + " voxels");
  return architecture;
}

Normalization read_normalization(const Field& field) {
  const std::string name = field.at("scheme").text();
  std::string known;
  const NormalizationSchemeEntry* entry = nullptr;
  for (const NormalizationSchemeEntry& one : kNormalizationSchemes) {
    if (name == one.name) entry = &one;
    const bool last = &one == std::end(kNormalizationSchemes) - 1;
    known += (known.empty() ? "" : last ? " or " : ", ") + std::string(one.name);
  }
  if (entry == nullptr) field.at("scheme").refuse(known);

  Normalization normalization(entry->scheme);
  if (entry->bounds) {
    const Field clip = field.at("clip");
    clip.list_size(2, 2);
    normalization.clip_low = clip.at(std::size_t{0}).number();
    normalization.clip_high = clip.at(1).number();
    if (normalization.clip_low > normalization.clip_high) clip.refuse("[low, high]");
  }
  if (entry->moments) {
    normalization.mean = field.at("mean").number();
    normalization.standard_deviation = field.at("sd").number();
    if (!(normalization.standard_deviation > 0)) field.at("sd").refuse("a number above 0");
  }
  if (field.has("use_mask")) normalization.use_mask = field.at("use_mask").boolean();
  return normalization;
}

Preprocessing read_preprocessing(const Field& root, int channels) {
  Preprocessing preprocessing;
  // What docs/model-file.md says of a file that names none.
  preprocessing.normalization.assign(static_cast<std::size_t>(channels), Normalization(NormalizationScheme::non_ct));
  if (!root.has("preprocessing")) return preprocessing;
  const Field field = root.at("preprocessing");
  if (field.has("spacing")) {
    const Field spacing = field.at("spacing");
    spacing.list_size(3, 3);
    preprocessing.spacing.emplace();
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const double value = spacing.at(axis).number();
      if (!(value > 1e-6 && value < 1e6)) spacing.at(axis).refuse("a spacing in mm above 0");
      (*preprocessing.spacing)[axis] = value;
    }
  }
  if (field.has("transpose_forward")) {
    preprocessing.transpose_forward = field.at("transpose_forward").integers(0, 2);
    const std::array<int, 3>& order = preprocessing.transpose_forward;
    if (order[0] == order[1] || order[1] == order[2] || order[0] == order[2]) {
      field.at("transpose_forward").refuse("a permutation of 0, 1, 2");
    }
  }
  if (field.has("normalization")) {
    const Field list = field.at("normalization");
    const auto count = static_cast<std::size_t>(channels);
    list.list_size(count, count);
    for (std::size_t channel = 0; channel < count; ++channel) {
      preprocessing.normalization[channel] = read_normalization(list.at(channel));
    }
  }
  if (field.has("orientation")) {
    const Field orientation = field.at("orientation");
    const std::string code = orientation.text();
    std::set<char> axes;
    for (const char letter : code) {
      if (letter == 'R' || letter == 'L') axes.insert('x');
      if (letter == 'A' || letter == 'P') axes.insert('y');
      if (letter == 'S' || letter == 'I') axes.insert('z');
    }
    if (code.size() != 3 || axes.size() != 3) orientation.refuse("three letters, one of R/L, A/P and S/I each");
    preprocessing.orientation = code;
  }
  return preprocessing;
}

// A code's value, its scheme and its meaning.
std::array<std::string, 3> read_code(const Field& field) {
  field.list_size(3, 3);
  return {short_text(field.at(std::size_t{0}), 16), short_text(field.at(1), 16), short_text(field.at(2))};
}

void read_label_concepts(const Field& concepts, const std::string& source, Configuration& configuration) {
  if (!concepts.value().is_object()) concepts.refuse("an object of label value and concept");
  for (const auto& [key, value] : concepts.value().items()) {
    const Field field(value, "e2enet.label_concepts." + printable(key), source);
    const auto label = std::find_if(configuration.labels.begin(), configuration.labels.end(),
                                    [&name = key](const auto& one) { return std::to_string(one.first) == name; });
    if (label == configuration.labels.end() || label->first == 0) field.refuse("a label's value as the key");
    LabelConcept meaning;
    if (field.has("category")) meaning.category = read_code(field.at("category"));
    if (field.has("type")) meaning.type = read_code(field.at("type"));
    if (field.has("color")) meaning.color = field.at("color").integers(0, 255);
    configuration.label_concepts[label->first] = meaning;
  }
}

std::vector<std::array<int, 2>> read_mirrored_labels(const Field& field, int classes) {
  std::vector<std::array<int, 2>> pairs;
  std::set<int> seen;
  const std::size_t count = field.list_size(0, kLargestLabel);
  for (std::size_t i = 0; i < count; ++i) {
    const Field pair = field.at(i);
    pair.list_size(2, 2);
    pairs.emplace_back();
    for (std::size_t side = 0; side < 2; ++side) {
      const int label = pair.at(side).integer(1, classes - 1);
      if (!seen.insert(label).second) pair.at(side).refuse("every label at most once");
      pairs.back()[side] = label;
    }
  }
  return pairs;
}

Range read_range(const Field& field) {
  field.list_size(2, 2);
  const Range range{field.at(std::size_t{0}).number(), field.at(std::size_t{1}).number()};
  if (range.low > range.high) field.refuse("[smallest, largest]");
  return range;
}

TrainingImages read_training_images(const Field& field, const Configuration& configuration) {
  TrainingImages images;
  const Field extents = field.at("extent_mm");
  extents.list_size(3, 3);
  for (std::size_t axis = 0; axis < 3; ++axis) images.extent_mm[axis] = read_range(extents.at(axis));
  const Field channels = field.at("input_quantiles");
  const auto count = static_cast<std::size_t>(configuration.architecture.input_channels);
  channels.list_size(count, count);
  for (std::size_t channel = 0; channel < count; ++channel) {
    const Field of_channel = channels.at(channel);
    of_channel.list_size(kInputPercentages.size(), kInputPercentages.size());
    images.quantiles.emplace_back();
    for (std::size_t q = 0; q < kInputPercentages.size(); ++q)
      images.quantiles.back()[q] = read_range(of_channel.at(q));
  }
  const Field volumes = field.at("volumes_ml");
  if (!volumes.value().is_object()) volumes.refuse("an object of label value and [smallest, largest]");
  for (const auto& [value, name] : configuration.labels) {
    const std::string key = std::to_string(value);
    if (volumes.has(key.c_str())) images.volumes_ml[value] = read_range(volumes.at(key.c_str()));
  }
  if (images.volumes_ml.size() != volumes.value().size()) volumes.refuse("values of `labels` as keys");
  return images;
}

}  // namespace

std::optional<int> left_right_axis(const Preprocessing& preprocessing) {
  const std::string& orientation = preprocessing.orientation;
  for (int axis = 0; axis < 3 && !orientation.empty(); ++axis) {
    // The letters are those of the file's axes i, j, k, of which k becomes depth before the transposition.
    const char letter = orientation[std::size_t(2 - preprocessing.transpose_forward[axis])];
    if (letter == 'L' || letter == 'R') return axis;
  }
  return std::nullopt;
}

Configuration parse_configuration(const std::string& json_text, const std::string& source, bool needs_format_version) {
  const JsonDocument document = parse_json(json_text, source + ": e2enet");
  const Json& json = document.value();
  const Field root(json, "e2enet", source);
  if (!json.is_object()) root.refuse("an object");
  if (needs_format_version || root.has("format_version")) {
    const Field version = root.at("format_version");
    if (version.integer(0, INT32_MAX) != 1) version.refuse("1, the only format this program knows");
  }

  Configuration configuration;
  configuration.architecture = read_architecture(root);
  const int classes = configuration.architecture.classes;
  if (root.has("output")) {
    const std::string kind = root.at("output").text();
    if (kind == "sigmoid")
      configuration.output = OutputKind::sigmoid;
    else if (kind != "softmax")
      root.at("output").refuse("softmax or sigmoid");
  }
  if (configuration.output == OutputKind::sigmoid) {
    const Field order = root.at("region_order");
    const auto count = static_cast<std::size_t>(classes);
    order.list_size(count, count);
    for (std::size_t i = 0; i < count; ++i) configuration.region_order.push_back(order.at(i).integer(1, kLargestLabel));
  }

  const bool regions = configuration.output == OutputKind::sigmoid;
  configuration.labels[0] = "background";
  if (regions) {
    for (const int value : configuration.region_order) configuration.labels[value] = "label " + std::to_string(value);
  } else {
    for (int value = 1; value < classes; ++value) configuration.labels[value] = "label " + std::to_string(value);
  }
  if (root.has("labels")) {
    const Field labels = root.at("labels");
    if (!labels.value().is_object()) labels.refuse("an object of label value and name");
    for (const auto& [key, name] : labels.value().items()) {
      const Field field(name, "e2enet.labels." + printable(key), source);
      const bool digits = !key.empty() && key.size() <= 5 &&
                          std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
      // One spelling a value: "1" and "01" would name the same label twice.
      const int value = digits && (key == "0" || key[0] != '0') ? std::stoi(key) : -1;
      if (value < 0 || value > kLargestLabel || (!regions && value >= classes)) {
        field.refuse(regions ? "a label value from 0 to 32767 as the key"
                             : "a label value below the number of classes as the key");
      }
      configuration.labels[value] = field.text();
    }
  }

  configuration.mirror_axes = {0, 1, 2};
  if (root.has("mirror_axes")) {
    const Field axes = root.at("mirror_axes");
    const std::size_t count = axes.list_size(0, 3);
    std::set<int> seen;
    for (std::size_t i = 0; i < count; ++i) seen.insert(axes.at(i).integer(0, 2));
    if (seen.size() != count) axes.refuse("each axis once");
    configuration.mirror_axes.assign(seen.begin(), seen.end());
  }
  configuration.preprocessing = read_preprocessing(root, configuration.architecture.input_channels);
  if (root.has("mirrored_labels")) {
    configuration.mirrored_labels = read_mirrored_labels(root.at("mirrored_labels"), classes);
    if (!configuration.mirrored_labels.empty()) {
      if (regions) root.at("mirrored_labels").refuse("none with the output sigmoid");
      if (!left_right_axis(configuration.preprocessing)) {
        root.at("mirrored_labels")
            .refuse("preprocessing.orientation with it, by which the axis of left and right is known");
      }
    }
  }
  if (root.has("postprocessing") && root.at("postprocessing").has("largest_component")) {
    const Field list = root.at("postprocessing").at("largest_component");
    const std::size_t count = list.list_size(0, kLargestLabel);
    for (std::size_t i = 0; i < count; ++i)
      configuration.largest_component.push_back(list.at(i).integer(1, kLargestLabel));
  }
  if (root.has("training_images")) {
    configuration.training_images = read_training_images(root.at("training_images"), configuration);
  }
  if (root.has("algorithm_name")) configuration.algorithm_name = short_text(root.at("algorithm_name"));
  if (root.has("label_concepts")) read_label_concepts(root.at("label_concepts"), source, configuration);
  configuration.provenance = "{}";
  if (root.has("provenance")) {
    const Field provenance = root.at("provenance");
    if (!provenance.value().is_object()) provenance.refuse("an object");
    configuration.provenance = provenance.value().dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  return configuration;
}

}  // namespace e2enet::model
