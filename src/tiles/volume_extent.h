// The one place where a volume's Shape becomes an Extent. Shape has 64 bits a number: it is public, and what a file
// claims must be said whole before it can be refused. Extent has 32, since it is what indices inside the network's
// loops are made of. Between the two stands the volume at the model's spacing, over which patches slide.
#pragma once

#include <limits>
#include <string>

#include "base/extent.h"
#include "e2enet/error.h"
#include "e2enet/volume.h"

namespace e2enet::tiles {

// Throws Error (invalid_image) for a size that does not fit.
inline Extent volume_extent(const Shape& shape) {
  Extent extent;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    if (shape[axis] < 0 || shape[axis] > std::numeric_limits<int>::max()) {
      throw Error(ErrorCode::invalid_image,
                  "a volume for the network: expected at most 2^31 - 1 voxels along each "
                  "axis, found " +
                      std::to_string(shape[axis]));
    }
    extent[axis] = static_cast<int>(shape[axis]);
  }
  return extent;
}

}  // namespace e2enet::tiles
