#include "cli/image_remarks.h"

#include "image/orientation.h"

namespace e2enet::cli {
namespace {

bool is_warning(const FileRemark& one) { return one.remark.weight == imaging::Remark::Weight::warning; }

}  // namespace

void add_remarks(std::vector<FileRemark>& remarks, const std::string& file, const imaging::NiftiHeader& header) {
  for (const imaging::Remark& remark : header.remarks) remarks.push_back({file, remark});
}

void show_remarks(ProgressDisplay& display, const std::string& command, const std::vector<FileRemark>& remarks) {
  for (const FileRemark& one : remarks) {
    const std::string text = one.file + ": " + one.remark.text;
    if (is_warning(one)) {
      display.warning("e2enet " + command + ": warning: " + text);
    } else {
      display.remark("e2enet " + command + ": remark: " + text);
    }
  }
}

nlohmann::ordered_json remarks_json(const std::vector<FileRemark>& remarks) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const FileRemark& one : remarks) {
    list.push_back((is_warning(one) ? "warning: " : "") + one.file + ": " + one.remark.text);
  }
  return list;
}

nlohmann::ordered_json geometry_json(const imaging::NiftiHeader& header) {
  const Geometry geometry = header.geometry();
  nlohmann::ordered_json json;
  json["shape"] = {geometry.shape[2], geometry.shape[1], geometry.shape[0]};
  json["spacing"] = {geometry.spacing[2], geometry.spacing[1], geometry.spacing[0]};
  for (std::size_t row = 0; row < 4; ++row) {
    const double* at = geometry.affine.data() + 4 * row;
    json["affine"].push_back({at[0], at[1], at[2], at[3]});
  }
  json["matrix"] = imaging::matrix_name(header.matrix_source());
  json["orientation"] = imaging::orientation_code(geometry.affine);
  return json;
}

}  // namespace e2enet::cli
