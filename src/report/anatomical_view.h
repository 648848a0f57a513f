// A volume seen along anatomical axes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "e2enet/volume.h"

namespace e2enet::report {

// Axis 0 runs to the right, 1 to the front, 2 upwards, as in NIfTI's space. Which of the file's axes that is, and in
// which direction, is decided where it is decided for the network (image/orientation.h): the letters of a picture and
// the sides of the labels are the same.
struct AnatomicalView {
  std::array<int, 3> file_axis{0, 1, 2};  // i, j or k
  std::array<bool, 3> flipped{false, false, false};
  std::array<std::int64_t, 3> extent{0, 0, 0};
  std::array<double, 3> spacing{1, 1, 1};
  std::array<std::int64_t, 3> stride{0, 0, 0};
  std::int64_t origin = 0;

  explicit AnatomicalView(const Geometry& geometry);

  // Index along the file's axis of position `at` along the anatomical one.
  std::int64_t file_index(std::size_t axis, std::int64_t at) const {
    return flipped[axis] ? extent[axis] - 1 - at : at;
  }
};

}  // namespace e2enet::report
