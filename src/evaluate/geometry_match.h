// Whether two volumes of the same shape lie on the same voxels in space: scores compare voxel with voxel, and where the
// shapes agree only by chance they mean nothing.
#pragma once

#include <string>

#include "e2enet/volume.h"

namespace e2enet::evaluate {

enum class GeometryMatch {
  same,               // no voxel is farther than a tenth of the smallest spacing from its twin
  elsewhere,          // axes run the same way, but place, spacing or angles differ
  other_orientation,  // axes are exchanged or run the other way: voxels of the same index have nothing in common
};

struct GeometryComparison {
  GeometryMatch match = GeometryMatch::same;
  // What differs: "place: voxels up to 12.00 mm apart". Empty where nothing does.
  std::string difference;
};

// Compares the places of the voxels of two volumes. Both shapes are those of `reference`; the caller compares them.
GeometryComparison compare_geometry(const Geometry& volume, const Geometry& reference);

}  // namespace e2enet::evaluate
