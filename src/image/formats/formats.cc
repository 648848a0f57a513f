#include "image/formats/formats.h"

#include "e2enet/error.h"
#include "image/formats/nifti/nifti_format.h"

namespace e2enet::imaging {

const std::vector<Format>& formats() {
  static const std::vector<Format> list = {nifti_format()};
  return list;
}

std::unique_ptr<ChannelFile> open_channel(const std::string& path) {
  for (const Format& format : formats()) {
    if (format.recognises(path)) return format.open(path);
  }
  throw Error(ErrorCode::internal, path + ": no format recognises it");
}

std::unique_ptr<LabelFile> create_label_file(const std::string& path, const LabelFileContents& contents) {
  std::string endings;
  for (const Format& format : formats()) {
    if (!format.create_labels) continue;
    if (format.writes(path)) return format.create_labels(path, contents);
    endings += (endings.empty() ? "" : ", ") + std::string(format.endings);
  }
  throw Error(ErrorCode::invalid_argument,
              "labels file: expected a name ending in " + endings + ", found '" + path + "'");
}

}  // namespace e2enet::imaging
