// Exact Euclidean distances on a grid whose axes have different spacing.
#pragma once

#include <vector>

#include "e2enet/volume.h"

namespace e2enet::evaluate {

// On entry `field` (D, H, W order) holds 0 at the voxels of a set and +infinity elsewhere. On return it holds, for
// every voxel, the squared distance in mm^2 to the nearest voxel of the set (centre to centre); +infinity everywhere if
// the set is empty. Exact up to rounding in double; linear in the number of voxels.
void squared_distance_transform(std::vector<double>& field, const Shape& shape, const Spacing& spacing, int threads);

}  // namespace e2enet::evaluate
