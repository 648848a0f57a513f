#include <utility>

#include "api/errors.h"
#include "api/image.h"
#include "e2enet/evaluate.h"
#include "image/formats/nifti/nifti_reader.h"

namespace e2enet {

LabelVolume read_labels(const std::string& path) {
  static const Error no_memory(ErrorCode::out_of_memory, "no memory to read labels");
  return with_errors(no_memory, [&] {
    imaging::LabelImage read = imaging::read_labels(path);
    LabelVolume volume;
    volume.geometry = read.geometry;
    volume.labels = std::move(read.labels);
    for (const imaging::Remark& remark : read.header.remarks) {
      volume.remarks.push_back(public_remark(remark, path));
    }
    return volume;
  });
}

}  // namespace e2enet
