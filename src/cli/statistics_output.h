// Volumes of left against right as a table.
#pragma once

#include <string>
#include <vector>

#include "e2enet/statistics.h"

namespace e2enet::cli {

// A table for people.
std::string asymmetry_table(const std::vector<Asymmetry>& asymmetries);

}  // namespace e2enet::cli
