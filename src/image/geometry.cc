#include "image/geometry.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>

#include "e2enet/error.h"

namespace e2enet::imaging {
namespace {

// Below it an inverse of the matrix means nothing.
constexpr double kLeastIndependence = 1e-6;
// Headers keep float32 and are rounded now and then; more than this is a contradiction.
constexpr double kTolerance = 0.01;
constexpr double kLargestAngle = 5;  // degrees, between what must be the same axis
constexpr double kDegrees = 57.29577951308232;

// A few slices of ordinary voxels are no mistake: what is small must be the voxels.
constexpr double kLeastFieldOfView = 5;    // mm, of voxels below
constexpr double kSmallSpacing = 0.1;      // mm
constexpr double kMostFieldOfView = 3000;  // mm
constexpr double kMostRatio = 10;
constexpr double kRounding = 1e-6;  // a spacing of exactly ten times the model's, in float32

std::string text(double value) {
  std::ostringstream out;
  out.precision(6);
  out << value;
  return out.str();
}

std::array<double, 3> column(const Affine& affine, std::size_t axis) {
  return {affine[axis], affine[4 + axis], affine[8 + axis]};
}

double length(const Affine& affine, std::size_t axis) {
  return std::hypot(affine[axis], affine[4 + axis], affine[8 + axis]);
}

double cosine(const Affine& a, std::size_t axis_a, const Affine& b, std::size_t axis_b) {
  const auto u = column(a, axis_a), v = column(b, axis_b);
  return (u[0] * v[0] + u[1] * v[1] + u[2] * v[2]) / (length(a, axis_a) * length(b, axis_b));
}

double angle(double cosine) { return std::acos(std::clamp(cosine, -1.0, 1.0)) * kDegrees; }

double voxel_volume(const Affine& affine) {
  Geometry geometry;
  geometry.affine = affine;
  return geometry.voxel_ml() * 1000;
}

bool far(double a, double b) { return std::abs(a - b) > kTolerance * std::min(a, b); }

// Along i, j, k.
std::string triple(double i, double j, double k) { return text(i) + " x " + text(j) + " x " + text(k); }
std::string lengths(const Affine& affine) { return triple(length(affine, 0), length(affine, 1), length(affine, 2)); }

}  // namespace

double independence(const Affine& affine) {
  for (const double value : affine) {
    if (!std::isfinite(value)) return 0;
  }
  double columns = 1;
  for (std::size_t axis = 0; axis < 3; ++axis) columns *= length(affine, axis);
  const double volume = voxel_volume(affine);
  return columns > 0 && std::isfinite(columns) && std::isfinite(volume) ? volume / columns : 0;
}

bool usable(const Affine& affine) { return independence(affine) > kLeastIndependence; }

std::vector<Remark> contradictions(const Geometry& geometry, const std::string& matrix, const std::string& spacing) {
  std::vector<Remark> remarks;
  const Spacing& s = geometry.spacing;
  const double by_matrix = geometry.voxel_ml() * 1000, by_spacing = s[0] * s[1] * s[2];
  bool lengths_differ = false;
  for (std::size_t axis = 0; axis < 3; ++axis) lengths_differ |= far(length(geometry.affine, axis), s[2 - axis]);
  if (lengths_differ || far(by_matrix, by_spacing)) {
    remarks.push_back({Remark::Weight::warning,
                       "a voxel has " + text(by_matrix) + " mm3 and sides of " + lengths(geometry.affine) +
                           " mm by the " + matrix + ", " + text(by_spacing) + " mm3 and " + triple(s[2], s[1], s[0]) +
                           " mm by " + spacing + ": volumes are by the " + matrix + ", distances by " + spacing});
  }
  for (std::size_t a = 0; a < 3; ++a) {
    for (std::size_t b = a + 1; b < 3; ++b) {
      const double between = cosine(geometry.affine, a, geometry.affine, b);
      if (std::abs(between) <= kTolerance) continue;
      remarks.push_back({Remark::Weight::warning, std::string("the axes ") + "ijk"[a] + " and " + "ijk"[b] +
                                                      " are at " + text(angle(between)) +
                                                      " degrees: they are resampled as if they were at right angles"});
    }
  }
  return remarks;
}

std::string difference(const Affine& a, const Affine& b) {
  const std::string letters_a = orientation_code(a), letters_b = orientation_code(b);
  if (letters_a != letters_b) return letters_a + " and " + letters_b;
  double largest = 0;
  bool lengths_differ = far(voxel_volume(a), voxel_volume(b));
  for (std::size_t axis = 0; axis < 3; ++axis) {
    largest = std::max(largest, angle(cosine(a, axis, b, axis)));
    lengths_differ |= far(length(a, axis), length(b, axis));
  }
  if (lengths_differ) {
    return "voxels of " + lengths(a) + " mm (" + text(voxel_volume(a)) + " mm3) and " + lengths(b) + " mm (" +
           text(voxel_volume(b)) + " mm3)";
  }
  return largest > kLargestAngle ? "axes " + text(largest) + " degrees apart" : "";
}

void require_plausible_spacing(const std::string& image, const Geometry& geometry, const AxisMap& network_frame,
                               const std::optional<Spacing>& model_spacing) {
  const auto refuse = [&](const std::string& expected, const std::string& found) {
    throw Error(ErrorCode::invalid_image, image + ": spacing: expected " + expected + ", found " + found +
                                              " (to take it all the same: --force, or allow_implausible_spacing)");
  };
  for (std::size_t axis = 0; axis < 3; ++axis) {  // i, j, k
    const double spacing = geometry.spacing[2 - axis];
    const double field = spacing * static_cast<double>(geometry.shape[2 - axis]);
    const bool small = field < kLeastFieldOfView * (1 - kRounding) && spacing < kSmallSpacing * (1 - kRounding);
    if (!small && field <= kMostFieldOfView * (1 + kRounding)) continue;
    refuse(
        "a field of view from " + text(kLeastFieldOfView) + " mm to " + text(kMostFieldOfView) + " mm along each axis",
        text(spacing) + " mm along " + "ijk"[axis] + ", " + text(field) + " mm for " +
            std::to_string(geometry.shape[2 - axis]) + " voxels");
  }
  if (!model_spacing) return;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const auto file_axis = static_cast<std::size_t>(network_frame.source[axis]);
    const double spacing = geometry.spacing[file_axis], wanted = (*model_spacing)[axis];
    if (std::max(spacing / wanted, wanted / spacing) <= kMostRatio * (1 + kRounding)) continue;
    refuse("at most " + text(kMostRatio) + " times or a tenth of the model's " + text(wanted) + " mm",
           text(spacing) + " mm along " + "kji"[file_axis]);
  }
}

}  // namespace e2enet::imaging
