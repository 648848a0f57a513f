#include "image/geometry.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "e2enet/error.h"
#include "image/matrix.h"

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

double cosine(const Vector& a, const Vector& b) { return dot(a, b) / (length(a) * length(b)); }

double angle(double cosine) { return std::acos(std::clamp(cosine, -1.0, 1.0)) * kDegrees; }

double voxel_volume(const Affine& affine) {
  Geometry geometry;
  geometry.affine = affine;
  return geometry.voxel_ml() * 1000;
}

bool far(double a, double b) { return std::abs(a - b) > kTolerance * std::min(a, b); }

// Along i, j, k.
std::string triple(double i, double j, double k) { return text(i) + " x " + text(j) + " x " + text(k); }
std::string lengths(const Axes& axes) { return triple(length(axes.col(0)), length(axes.col(1)), length(axes.col(2))); }

}  // namespace

double independence(const Affine& affine) {
  if (!matrix_of(affine).allFinite()) return 0;
  const Axes axes = axes_of(affine);
  double columns = 1;
  for (int axis = 0; axis < 3; ++axis) columns *= length(axes.col(axis));
  const double volume = voxel_volume(affine);
  return columns > 0 && std::isfinite(columns) && std::isfinite(volume) ? volume / columns : 0;
}

bool usable(const Affine& affine) { return independence(affine) > kLeastIndependence; }

std::vector<Remark> contradictions(const Geometry& geometry, const std::string& matrix, const std::string& spacing) {
  std::vector<Remark> remarks;
  const Axes axes = axes_of(geometry.affine);
  const Spacing& s = geometry.spacing;
  const double by_matrix = geometry.voxel_ml() * 1000, by_spacing = s[0] * s[1] * s[2];
  bool lengths_differ = false;
  for (int axis = 0; axis < 3; ++axis) {
    lengths_differ |= far(length(axes.col(axis)), s[static_cast<std::size_t>(2 - axis)]);
  }
  if (lengths_differ || far(by_matrix, by_spacing)) {
    remarks.push_back({Remark::Weight::warning, "a voxel has " + text(by_matrix) + " mm3 and sides of " +
                                                    lengths(axes) + " mm by the " + matrix + ", " + text(by_spacing) +
                                                    " mm3 and " + triple(s[2], s[1], s[0]) + " mm by " + spacing +
                                                    ": volumes are by the " + matrix + ", distances by " + spacing});
  }
  for (int a = 0; a < 3; ++a) {
    for (int b = a + 1; b < 3; ++b) {
      const double between = cosine(axes.col(a), axes.col(b));
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
  const Axes axes_a = axes_of(a), axes_b = axes_of(b);
  double largest = 0;
  bool lengths_differ = far(voxel_volume(a), voxel_volume(b));
  for (int axis = 0; axis < 3; ++axis) {
    largest = std::max(largest, angle(cosine(axes_a.col(axis), axes_b.col(axis))));
    lengths_differ |= far(length(axes_a.col(axis)), length(axes_b.col(axis)));
  }
  if (lengths_differ) {
    return "voxels of " + lengths(axes_a) + " mm (" + text(voxel_volume(a)) + " mm3) and " + lengths(axes_b) + " mm (" +
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
