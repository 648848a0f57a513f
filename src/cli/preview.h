// A picture of a segmentation: three orthogonal views, labels in colour over the image, a legend with volumes.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "e2enet/volume.h"
#include "imaging/slice_source.h"

namespace e2enet::cli {

struct PreviewInput {
  Geometry geometry;
  imaging::SliceSource* image = nullptr;  // read once from first to last slice; NaN counts as 0
  const std::uint16_t* labels = nullptr;  // D, H, W order
  std::map<int, std::string> names;       // label value -> name; labels without a name show their number
  std::string title;
};

// Axial, coronal and sagittal views through the slices in which the labels' cross-section is largest (the middle of the
// volume where there are no labels), in proportion to the spacing, as radiologists look at them: the patient's right is
// on the left. Axes of an oblique volume are taken to be the anatomical ones that they are nearest to. Of the
// image, only three slices are held in memory. Throws Error (cannot_read, cannot_write).
void write_preview(const std::string& path, const PreviewInput& input);

}  // namespace e2enet::cli
