// Which labels are the left and the right of one structure, by their names: the one place that decides it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "e2enet/model.h"
#include "model/configuration.h"

namespace e2enet::model {

// Labels of `names` (label value -> name) whose names differ in nothing but the words "left" and "right" or "l" and
// "r", in the order of each pair's smaller value. No label is in two pairs.
std::vector<SidePair> side_pairs(const std::map<int, std::string>& names);

// Those of a model: where it says itself which labels mirror each other (`mirrored_labels`), only these pairs; the
// names tell which of the two is the left one, so that a pair without sides in its names is left out.
std::vector<SidePair> side_pairs(const Configuration& configuration);

}  // namespace e2enet::model
