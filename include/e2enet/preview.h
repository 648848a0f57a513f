// A picture of labels over an image.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "e2enet/export.h"
#include "e2enet/image.h"

namespace e2enet {

// Writes a PNG: axial, coronal and sagittal views through the slices in which the labels' cross-section is largest (the
// middle of the volume where there are no labels), in proportion to the spacing, as radiologists look at them (the
// patient's right is on the left), with a legend of names and volumes. `labels` are one a voxel of the image, D, H, W
// order; `names` says what they are. Of the image's first channel, only three slices are held. Throws Error:
// cannot_read, cannot_write, out_of_memory.
E2ENET_API void write_preview(const std::string& path, const Image& image, const std::uint16_t* labels,
                              const std::map<int, std::string>& names, const std::string& title = "");

}  // namespace e2enet
