// What the headers of images say that their user should know: on standard error and in JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/progress.h"
#include "image/formats/nifti/nifti_header.h"

namespace e2enet::cli {

struct FileRemark {
  std::string file;
  imaging::Remark remark;
};

void add_remarks(std::vector<FileRemark>& remarks, const std::string& file, const imaging::NiftiHeader& header);

// "e2enet COMMAND: remark: FILE: ...", a line each. --quiet leaves the warnings.
void show_remarks(ProgressDisplay& display, const std::string& command, const std::vector<FileRemark>& remarks);

// A list of "FILE: ...", or "warning: FILE: ...".
nlohmann::ordered_json remarks_json(const std::vector<FileRemark>& remarks);

// `shape` and `spacing` along i, j, k, the `affine` in use as four rows, the `matrix` that it comes from and its
// `orientation`.
nlohmann::ordered_json geometry_json(const imaging::NiftiHeader& header);

}  // namespace e2enet::cli
