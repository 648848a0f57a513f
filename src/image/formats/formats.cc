#include "image/formats/formats.h"

#include <algorithm>
#include <sstream>

#include "e2enet/error.h"
#include "image/formats/nifti/nifti_format.h"
#ifdef E2ENET_HAS_DICOM
#include "image/formats/dicom/dicom_format.h"
#else
#include "image/formats/no_dicom.h"
#endif

namespace e2enet::imaging {

const std::vector<Format>& formats() {
  static const std::vector<Format> list = {
#ifdef E2ENET_HAS_DICOM
      dicom_format(),
#else
      no_dicom_format(),
#endif
      nifti_format()};
  return list;
}

std::unique_ptr<ChannelFile> open_channel(const ChannelRequest& request) {
  if (request.paths.empty()) throw Error(ErrorCode::internal, "a channel without a path");
  for (const Format& format : formats()) {
    if (!format.recognises(request.paths[0])) continue;
    if (!format.has_series && (!request.series.empty() || request.regrid)) {
      throw Error(ErrorCode::invalid_argument, std::string(request.series.empty() ? "regrid" : "series") +
                                                   ": expected a DICOM series, found " + request.paths[0]);
    }
    return format.open(request);
  }
  throw Error(ErrorCode::internal, request.paths[0] + ": no format recognises it");
}

double label_file_bytes(const std::string& path, const Shape& image, std::size_t labels, bool of_reference) {
  for (const Format& format : formats()) {
    if (!format.create_labels || !format.writes(path)) continue;
    return format.label_file_bytes ? format.label_file_bytes(image, labels, of_reference) : 0;
  }
  return 0;
}

std::string not_on_slices(const std::string& path, const ChannelFile& image, bool labels) {
  const ChannelFile* slices = image.label_grid();
  if (!slices) return "";
  const bool uneven = slices->uneven_slices();
  if (labels) {
    const bool places_each_slice = std::any_of(formats().begin(), formats().end(), [&](const Format& format) {
      return format.create_labels && format.writes(path) && format.places_each_slice;
    });
    if (!uneven || places_each_slice) return "";
  }
  const auto number = [](std::int64_t n) { return std::to_string(n); };
  std::ostringstream distance;
  distance.precision(4);
  distance << image.geometry().spacing[0];
  return path + " lies on the " + number(image.shape()[0]) + (uneven ? " even" : " upright") + " slices, " +
         distance.str() + " mm apart, that the network saw, not on the series' " + number(slices->shape()[0]) +
         " slices" +
         (labels ? ", whose distances NIfTI cannot say (a DICOM segmentation, .dcm, has the labels on them)" : "");
}

std::unique_ptr<LabelFile> create_label_file(const std::string& path, const LabelFileContents& contents) {
  std::string endings;
  for (const Format& format : formats()) {
    if (!format.create_labels) continue;
    if (format.writes(path)) {
      const ChannelFile* image = contents.reference;
      const ChannelFile* slices = image ? image->label_grid() : nullptr;
      // A file with one distance between slices can only have the image's own, even ones.
      if (!slices || (slices->uneven_slices() && !format.places_each_slice))
        return format.create_labels(path, contents);
      LabelFileContents of_slices = contents;
      of_slices.like = &slices->nifti_header();
      of_slices.reference = slices;
      return image->on_label_grid(format.create_labels(path, of_slices));
    }
    if (*format.endings) endings += (endings.empty() ? "" : ", ") + std::string(format.endings);
  }
  throw Error(ErrorCode::invalid_argument,
              "labels file: expected a name ending in " + endings + ", found '" + path + "'");
}

}  // namespace e2enet::imaging
