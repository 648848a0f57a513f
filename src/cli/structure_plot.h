// The second plot of `tradeoff`: the Dice of each structure, a point a model, as SVG.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/bootstrap.h"

namespace e2enet::cli {

struct StructureDice {
  double mean = 0;
  Interval interval;  // of the mean; NaN for one case
};

struct ModelStructures {
  std::string name;
  std::vector<std::optional<StructureDice>> dice;  // of each structure; none where no case has it
};

// A row for each structure, its models one below the other; lines are the 95% intervals over the cases.
std::string structure_svg(const std::vector<std::string>& structures, const std::vector<ModelStructures>& models,
                          const std::string& title);

}  // namespace e2enet::cli
