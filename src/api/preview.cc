#include "e2enet/preview.h"

#include "api/errors.h"
#include "api/image.h"
#include "report/preview.h"

namespace e2enet {

void write_preview(const std::string& path, const Image& image, const std::uint16_t* labels,
                   const std::map<int, std::string>& names, const std::string& title) {
  static const Error no_memory(ErrorCode::out_of_memory, "no memory for a preview of this image");
  with_errors(no_memory, [&] {
    if (!labels)
      throw Error(ErrorCode::invalid_argument, path + ": labels: expected one a voxel, found a null pointer");
    report::PreviewInput input;
    input.geometry = image.geometry();
    input.image = image.implementation().channels.front().get();
    input.labels = labels;
    input.names = names;
    input.title = title;
    report::write_preview(path, input);
  });
}

}  // namespace e2enet
