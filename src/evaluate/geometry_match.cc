#include "e2enet/evaluate.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "e2enet/error.h"
#include "image/matrix.h"
#include "image/orientation.h"

namespace e2enet::evaluate {
namespace {

std::string number(double value, const char* format) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// In file order: i, j, k.
std::string spacing_text(const Spacing& spacing) {
  return number(spacing[2], "%.6g") + " x " + number(spacing[1], "%.6g") + " x " + number(spacing[0], "%.6g") + " mm";
}

// The largest distance in mm between voxels of the same index. The difference of two affine maps is affine, so its
// length is largest at a corner.
double farthest_apart(const Geometry& a, const Geometry& b) {
  const imaging::Axes step = imaging::axes_of(a.affine) - imaging::axes_of(b.affine);
  const imaging::Vector at_origin = imaging::origin_of(a.affine) - imaging::origin_of(b.affine);
  double farthest = 0;
  for (unsigned corner = 0; corner < 8; ++corner) {
    imaging::Vector apart = at_origin;
    for (std::size_t axis = 0; axis < 3; ++axis) {
      if ((corner >> axis & 1U) == 0) continue;
      apart += step.col(static_cast<int>(axis)) * static_cast<double>(b.shape[2 - axis] - 1);
    }
    farthest = std::max(farthest, std::sqrt(imaging::dot(apart, apart)));
  }
  return farthest;
}

// How the axes of `a` run along those of `b`: element (row, column) is the cosine between b's axis `row` and a's axis
// `column`. Seen from b's axes, a volume that runs the same way is "RAS", whatever way b lies in space.
Affine along_axes_of(const Affine& b, const Affine& a) {
  const imaging::Axes axes_a = imaging::axes_of(a), axes_b = imaging::axes_of(b);
  Affine result{};
  result[15] = 1;
  for (int row = 0; row < 3; ++row) {
    for (int column = 0; column < 3; ++column) {
      const imaging::Vector along_b = axes_b.col(row), along_a = axes_a.col(column);
      const double lengths = imaging::length(along_b) * imaging::length(along_a);
      imaging::matrix_of(result)(row, column) = lengths > 0 ? imaging::dot(along_b, along_a) / lengths : 0;
    }
  }
  return result;
}

}  // namespace

GeometryComparison compare_geometry(const Geometry& volume, const Geometry& reference) {
  GeometryComparison result;
  const double smallest = std::min({reference.spacing[0], reference.spacing[1], reference.spacing[2]});
  const double apart = farthest_apart(volume, reference);
  bool spacing_differs = false;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const double mm = reference.spacing[axis];
    spacing_differs = spacing_differs || !(std::fabs(volume.spacing[axis] - mm) <= 1e-3 * mm);
  }
  const bool place_differs = !(apart <= 0.1 * smallest);
  if (!spacing_differs && !place_differs) return result;
  const std::string letters = imaging::orientation_code(volume.affine);
  const std::string expected = imaging::orientation_code(reference.affine);
  // The letters alone do not decide: axes near 45 degrees get other letters with the least rotation.
  if (place_differs && imaging::orientation_code(along_axes_of(reference.affine, volume.affine)) != "RAS") {
    result.match = GeometryMatch::other_orientation;
    result.difference = "orientation: axes run along " + letters + " instead of " + expected +
                        (letters == expected ? ", more than 45 degrees apart" : "");
    return result;
  }
  result.match = GeometryMatch::elsewhere;
  if (spacing_differs) {
    result.difference = "spacing: " + spacing_text(volume.spacing) + " instead of " + spacing_text(reference.spacing);
  }
  if (place_differs) {
    if (spacing_differs) result.difference += ", ";
    result.difference += "place: voxels up to " + number(apart, "%.2f") + " mm apart";
  }
  return result;
}

GeometryComparison require_comparable(const std::string& name, const Geometry& volume,
                                      const std::string& reference_name, const Geometry& reference,
                                      bool any_orientation) {
  const auto text = [](const Shape& s) {
    return std::to_string(s[2]) + "x" + std::to_string(s[1]) + "x" + std::to_string(s[0]);
  };
  if (volume.shape != reference.shape) {
    throw Error(ErrorCode::invalid_image, name + ": expected the shape of " + reference_name + ", " +
                                              text(reference.shape) + ", found " + text(volume.shape));
  }
  const GeometryComparison comparison = compare_geometry(volume, reference);
  if (comparison.match == GeometryMatch::other_orientation && !any_orientation) {
    throw Error(ErrorCode::invalid_image,
                name + ": expected the orientation of " + reference_name + ", found another (" + comparison.difference +
                    "); bring both to one orientation (to compare voxels of the same index all the same: "
                    "--ignore-geometry, or any_orientation)");
  }
  return comparison;
}

}  // namespace e2enet::evaluate
