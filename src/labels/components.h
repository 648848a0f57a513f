// Postprocessing of labels.
#pragma once

#include <cstdint>
#include <vector>

#include "e2enet/volume.h"

namespace e2enet::imaging {

// Of each of `values`, only the largest face-connected component stays; the voxels of the others become 0. Components
// that share the largest size all stay, as in nnU-Net. Memory beside the labels: 12 bytes a run of equal voxels in a
// row.
void keep_largest_components(std::uint16_t* labels, const Shape& shape, const std::vector<int>& values);
void keep_largest_components(std::uint8_t* labels, const Shape& shape, const std::vector<int>& values);

// What that takes besides the labels: runs of equal labels, some voxels each.
inline double component_bytes(double voxels) { return voxels * 2; }

}  // namespace e2enet::imaging
