// One channel of an image in a file, whatever the format.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image/formats/nifti/nifti_header.h"
#include "image/geometry.h"
#include "image/slice_source.h"

namespace e2enet::imaging {

// Open, its header read and checked; no voxel is. One thread at a time.
class ChannelFile : public SliceSource {
 public:
  virtual const Geometry& geometry() const = 0;
  // What of the file says where the voxels lie: "sform".
  virtual std::string matrix() const = 0;
  virtual const std::vector<Remark>& remarks() const = 0;
  // Of the voxels as they are stored but unpacked: what keep() takes.
  virtual std::int64_t stored_bytes() const = 0;
  // Of the buffers that an open file has, voxels that are kept left out.
  virtual std::int64_t open_bytes() const = 0;
  // What a NIfTI file on the same voxels says of their place.
  virtual const NiftiHeader& nifti_header() const = 0;
};

// Throws Error (invalid_image) naming both files unless they lie on the same voxels: shape equal, spacing equal to a
// thousandth, and no voxel farther than a tenth of a voxel from its twin.
void require_same_grid(const ChannelFile& first, const ChannelFile& other);

}  // namespace e2enet::imaging
