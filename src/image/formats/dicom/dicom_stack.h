// From a series' slices to a volume: their order and the geometry by where each lies, and what keeps them from being
// one.
#pragma once

#include <cstddef>
#include <vector>

#include "e2enet/volume.h"
#include "image/formats/dicom/dicom_series.h"
#include "image/geometry.h"

namespace e2enet::imaging::dicom {

struct Stack {
  std::vector<std::size_t> order;  // of the series' frames: ascending along the slices' normal
  // i along a row, j along a column, k from slice to slice. The affine has the first slice's place and directions; its
  // third column leads from the first slice to the last in equal steps, so where the gantry was tilted it is not at
  // right angles to the others. Spacing along k is across the slices.
  Geometry geometry;
  // Of each slice, from the first: across the slices in mm; along i and j in pixels (0 unless the gantry was tilted).
  std::vector<double> along;
  std::vector<std::array<double, 2>> shift;
  bool tilted = false;
  double tilt_degrees = 0;
  bool uneven = false;  // distances differ: only where that was allowed
  std::vector<Remark> remarks;
};

struct StackOptions {
  bool allow_uneven = false;
};

// Throws Error (invalid_image), one line with the files and the tag, where the frames are no stack of parallel slices
// of one size, each place once, one behind the other. What is tolerated is in docs/dicom.md.
Stack make_stack(const Series& series, const StackOptions& options = {});

}  // namespace e2enet::imaging::dicom
