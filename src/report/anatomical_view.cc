#include "report/anatomical_view.h"

#include "image/orientation.h"

namespace e2enet::report {

AnatomicalView::AnatomicalView(const Geometry& geometry) {
  // The frame whose i, j, k are the anatomical axes; arrays count them backwards.
  const imaging::AxisMap anatomical = imaging::map_to_orientation(geometry.affine, "RAS");
  const std::array<std::int64_t, 3> strides{1, geometry.shape[2], geometry.shape[1] * geometry.shape[2]};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    file_axis[axis] = 2 - anatomical.source[2 - axis];
    flipped[axis] = anatomical.flip[2 - axis];
    const auto file = static_cast<std::size_t>(file_axis[axis]);
    extent[axis] = geometry.shape[2 - file];
    spacing[axis] = geometry.spacing[2 - file];
    stride[axis] = flipped[axis] ? -strides[file] : strides[file];
    if (flipped[axis]) origin += strides[file] * (extent[axis] - 1);
  }
}

}  // namespace e2enet::report
