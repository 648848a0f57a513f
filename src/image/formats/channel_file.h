// One channel of an image in a file, whatever the format.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "image/formats/nifti/nifti_header.h"
#include "image/geometry.h"
#include "image/slice_source.h"

namespace e2enet::imaging {

class LabelFile;

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

  // What is read, so that nothing is written over it.
  virtual std::vector<std::string> files() const { return {name()}; }
  // Whether slices lie at different distances, of which geometry() has only the mean.
  virtual bool uneven_slices() const { return false; }

  // Where labels belong that were found on these voxels, if somewhere else: the slices of a DICOM series that had to be
  // moved. Null: on these voxels.
  virtual const ChannelFile* label_grid() const { return nullptr; }
  // Takes labels on these voxels and gives `file` those on label_grid(). Only where there is one.
  virtual std::unique_ptr<LabelFile> on_label_grid(std::unique_ptr<LabelFile> file) const;
};

// Throws Error (invalid_image) naming both files unless they lie on the same voxels: shape equal, spacing equal to a
// thousandth, and no voxel farther than a tenth of a voxel from its twin.
void require_same_grid(const ChannelFile& first, const ChannelFile& other);

}  // namespace e2enet::imaging
