#include "image/formats/channel_file.h"

#include <algorithm>
#include <cmath>

#include "e2enet/error.h"
#include "image/formats/label_file.h"
#include "image/matrix.h"

namespace e2enet::imaging {

std::unique_ptr<LabelFile> ChannelFile::on_label_grid(std::unique_ptr<LabelFile> file) const { return file; }

void require_same_grid(const ChannelFile& first, const ChannelFile& other) {
  const Geometry &a = first.geometry(), &b = other.geometry();
  const auto fail = [&](const std::string& field, const std::string& expected, const std::string& found) {
    throw Error(ErrorCode::invalid_image,
                other.name() + ": " + field + ": expected " + expected + " as in " + first.name() + ", found " + found);
  };
  const auto shape_text = [](const Shape& s) {
    return std::to_string(s[2]) + " x " + std::to_string(s[1]) + " x " + std::to_string(s[0]) + " voxels";
  };
  const auto spacing_text = [](const Spacing& s) {
    return std::to_string(s[2]) + " x " + std::to_string(s[1]) + " x " + std::to_string(s[0]) + " mm";
  };
  if (a.shape != b.shape) fail("dim", shape_text(a.shape), shape_text(b.shape));
  const double tolerance = 1e-3;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    if (std::abs(a.spacing[axis] - b.spacing[axis]) > tolerance * a.spacing[axis]) {
      fail("pixdim", spacing_text(a.spacing), spacing_text(b.spacing));
    }
  }
  // Directions by the farthest corner, origins by a tenth of a voxel: scanners round positions differently per
  // sequence.
  const double smallest = *std::min_element(a.spacing.begin(), a.spacing.end());
  const Axes step = (axes_of(a.affine) - axes_of(b.affine)).cwiseAbs();
  Vector apart = (origin_of(a.affine) - origin_of(b.affine)).cwiseAbs();
  for (std::size_t axis = 0; axis < 3; ++axis) {
    apart += step.col(static_cast<int>(axis)) * static_cast<double>(a.shape[2 - axis] - 1);
  }
  for (const double along_axis : {apart.x(), apart.y(), apart.z()}) {
    if (!(along_axis > 0.1 * smallest)) continue;
    fail("sform or qform", "the same position and directions",
         "voxels up to " + std::to_string(along_axis) + " mm apart");
  }
}

}  // namespace e2enet::imaging
