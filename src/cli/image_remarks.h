// What images say of themselves that their user should know, on standard error.
#pragma once

#include <string>
#include <vector>

#include "cli/progress.h"
#include "e2enet/image.h"

namespace e2enet::cli {

// "e2enet COMMAND: remark: FILE: ...", a line each. --quiet leaves the warnings.
void show_remarks(ProgressDisplay& display, const std::string& command, const std::vector<Remark>& remarks);

}  // namespace e2enet::cli
