#include "cli/image_remarks.h"

namespace e2enet::cli {

void show_remarks(ProgressDisplay& display, const std::string& command, const std::vector<Remark>& remarks) {
  for (const Remark& one : remarks) {
    const std::string text = one.source + ": " + one.text;
    if (one.warning) {
      display.warning("e2enet " + command + ": warning: " + text);
    } else {
      display.remark("e2enet " + command + ": remark: " + text);
    }
  }
}

nlohmann::ordered_json remarks_json(const std::vector<Remark>& remarks) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Remark& one : remarks) list.push_back((one.warning ? "warning: " : "") + one.source + ": " + one.text);
  return list;
}

nlohmann::ordered_json geometry_json(const Image& image) {
  const Geometry& geometry = image.geometry();
  nlohmann::ordered_json json;
  json["shape"] = {geometry.shape[2], geometry.shape[1], geometry.shape[0]};
  json["spacing"] = {geometry.spacing[2], geometry.spacing[1], geometry.spacing[0]};
  for (std::size_t row = 0; row < 4; ++row) {
    const double* at = geometry.affine.data() + 4 * row;
    json["affine"].push_back({at[0], at[1], at[2], at[3]});
  }
  json["matrix"] = image.matrix();
  json["orientation"] = image.orientation();
  return json;
}

}  // namespace e2enet::cli
