// Everything a model file says beside its tensors: the architecture, how an image is prepared, what labels mean.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/architecture.h"
#include "model/preprocessing.h"
#include "model/training_images.h"

namespace e2enet::model {

enum class OutputKind { softmax, sigmoid };

// What a label is to others, for DICOM segmentations (docs/model-file.md); empty where the file says nothing.
struct LabelConcept {
  std::array<std::string, 3> category, type;  // code value, coding scheme, meaning
  std::optional<std::array<int, 3>> color;    // sRGB
};

struct Configuration {
  Architecture architecture;
  OutputKind output = OutputKind::softmax;
  std::vector<int> region_order;  // label value of each region (sigmoid only)
  std::map<int, std::string> labels;
  std::vector<int> mirror_axes;
  std::vector<std::array<int, 2>> mirrored_labels;  // pairs that change places where left and right do (softmax only)
  Preprocessing preprocessing;
  std::vector<int> largest_component;  // labels of which only the largest component is kept
  std::optional<TrainingImages> training_images;
  std::map<int, LabelConcept> label_concepts;
  std::string algorithm_name;  // in DICOM segmentations; empty: the program's own
  std::string provenance;      // JSON text of an object
};

// Reads the JSON text of docs/model-file.md. `source` names the file in errors, which are Error (invalid_model) and say
// the key, what was expected and what was found. `needs_format_version`: model files state one, `random --config` need
// not.
Configuration parse_configuration(const std::string& json_text, const std::string& source, bool needs_format_version);

// The axis (0 = D, 1 = H, 2 = W) of the network's grid along which left and right lie; none where the preprocessing
// names no orientation.
std::optional<int> left_right_axis(const Preprocessing& preprocessing);

std::string configuration_text(const Configuration& configuration);

}  // namespace e2enet::model
