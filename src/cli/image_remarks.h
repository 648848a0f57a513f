// What images say of themselves that their user should know: on standard error and in JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/progress.h"
#include "e2enet/image.h"

namespace e2enet::cli {

// "e2enet COMMAND: remark: FILE: ...", a line each. --quiet leaves the warnings.
void show_remarks(ProgressDisplay& display, const std::string& command, const std::vector<Remark>& remarks);

// A list of "FILE: ...", or "warning: FILE: ...".
nlohmann::ordered_json remarks_json(const std::vector<Remark>& remarks);

// `shape` and `spacing` along i, j, k, the `affine` in use as four rows, the `matrix` that it comes from and its
// `orientation`.
nlohmann::ordered_json geometry_json(const Image& image);

}  // namespace e2enet::cli
