// Volumes and where they lie in the scanner's space.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace e2enet {

// Axis order is D, H, W everywhere: depth is the slowest axis in memory and the third axis (k) of a NIfTI file, width
// the fastest and the first (i). Voxel (d, h, w) of a volume is element (d * shape[1] + h) * shape[2] + w.
using Shape = std::array<std::int64_t, 3>;

// Distance between voxel centres along D, H, W, in mm.
using Spacing = std::array<double, 3>;

// Row-major 4x4 matrix from voxel indices (i, j, k, 1) - the file's order: i is w, j is h, k is d - to mm in NIfTI's
// space: x to the right, y to the front, z upwards.
using Affine = std::array<double, 16>;

// Half-open range of voxels along D, H, W.
struct Box {
  Shape begin{0, 0, 0};
  Shape end{0, 0, 0};

  bool empty() const { return begin[0] >= end[0] || begin[1] >= end[1] || begin[2] >= end[2]; }
  Shape size() const { return {end[0] - begin[0], end[1] - begin[1], end[2] - begin[2]}; }
};

// The affine says where voxels lie, and with it what is left and right and how large a voxel is; the spacing is what
// resampling goes by. The two should agree (docs/volumes.md, "Orientation").
struct Geometry {
  Shape shape{0, 0, 0};
  Spacing spacing{1, 1, 1};
  Affine affine{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};

  std::int64_t voxels() const { return shape[0] * shape[1] * shape[2]; }

  // Of one voxel, by the affine's determinant.
  double voxel_ml() const {
    const Affine& m = affine;
    return std::abs(m[0] * (m[5] * m[10] - m[6] * m[9]) - m[1] * (m[4] * m[10] - m[6] * m[8]) +
                    m[2] * (m[4] * m[9] - m[5] * m[8])) /
           1000.0;
  }
};

// An axis-aligned volume that lies at the scanner's origin, its axes to the right, to the front and upwards.
inline Geometry geometry_of(const Shape& shape, const Spacing& spacing) {
  Geometry geometry;
  geometry.shape = shape;
  geometry.spacing = spacing;
  geometry.affine = {spacing[2], 0, 0, 0, 0, spacing[1], 0, 0, 0, 0, spacing[0], 0, 0, 0, 0, 1};
  return geometry;
}

}  // namespace e2enet
