// Axis orders and directions: bringing a volume to a model's orientation and transposition without touching a value.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "e2enet/volume.h"

namespace e2enet::imaging {

// Where each axis of one frame lies in another: axis a runs along axis `source[a]`, backwards where `flip[a]`.
// Axes are 0, 1, 2 = D, H, W.
struct AxisMap {
  std::array<int, 3> source{0, 1, 2};
  std::array<bool, 3> flip{false, false, false};

  Shape shape(const Shape& of_source) const;
  Spacing spacing(const Spacing& of_source) const;
  // The axis of this frame that lies along axis `source_axis`.
  int inverse(int source_axis) const;
};

// The map of a frame that is reached by `first` and then by taking axes in the order `transpose` (new axis a = old axis
// transpose[a]).
AxisMap transposed(const AxisMap& first, const std::array<int, 3>& transpose);

// Three letters for the directions in which i, j and k run, each the closest of Left/Right, Anterior/Posterior,
// Inferior/Superior: "RAS" runs to the right, to the front and upwards.
std::string orientation_code(const Affine& affine);

// From the file's frame to the one whose i, j, k run in the directions of `code`. An empty code gives the identity.
// Throws Error (invalid_argument) where `code` is not three letters of different axes.
AxisMap map_to_orientation(const Affine& affine, const std::string& code);

}  // namespace e2enet::imaging
