// Do two volumes lie on the same voxels? Same place, another place, and axes that are not the same ones.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "e2enet/error.h"
#include "e2enet/evaluate.h"

namespace {

using namespace e2enet;
using evaluate::compare_geometry;
using evaluate::GeometryComparison;
using evaluate::GeometryMatch;

// Columns i, j, k turned by `degrees` about z, then scaled by the spacing (D, H, W).
Geometry turned(double degrees, const Spacing& spacing = {3, 1, 0.7}) {
  const double c = std::cos(degrees * 3.14159265358979 / 180), s = std::sin(degrees * 3.14159265358979 / 180);
  Geometry geometry;
  geometry.shape = {20, 30, 30};
  geometry.spacing = spacing;
  geometry.affine = {
      c * spacing[2], -s * spacing[1], 0, 5, s * spacing[2], c * spacing[1], 0, -8, 0, 0, spacing[0], 2, 0, 0, 0, 1};
  return geometry;
}

// File axis a of the result is file axis order[a] of `geometry`, backwards where `flip[a]`, in the same place in space.
Geometry reoriented(const Geometry& geometry, const std::array<std::size_t, 3>& order,
                    const std::array<bool, 3>& flip) {
  Geometry result = geometry;
  for (std::size_t a = 0; a < 3; ++a) {
    result.shape[2 - a] = geometry.shape[2 - order[a]];
    result.spacing[2 - a] = geometry.spacing[2 - order[a]];
    for (std::size_t row = 0; row < 3; ++row) {
      const double step = geometry.affine[4 * row + order[a]];
      result.affine[4 * row + a] = flip[a] ? -step : step;
      if (flip[a]) result.affine[4 * row + 3] += step * double(geometry.shape[2 - order[a]] - 1);
    }
  }
  return result;
}

TEST_CASE("a volume lies where it lies, give or take a twentieth of a voxel") {
  for (const double degrees : {0.0, 12.0, 44.9, 45.1, 90.0, 170.0}) {
    CAPTURE(degrees);
    const Geometry reference = turned(degrees);
    Geometry shifted = reference;
    shifted.affine[3] += 0.03;
    CHECK(compare_geometry(reference, reference).match == GeometryMatch::same);
    CHECK(compare_geometry(shifted, reference).match == GeometryMatch::same);
    CHECK(compare_geometry(shifted, reference).difference.empty());
  }
}

TEST_CASE("another place, spacing or angle is said, with its size") {
  for (const double degrees : {0.0, 30.0, 100.0}) {
    CAPTURE(degrees);
    const Geometry reference = turned(degrees);
    Geometry shifted = reference;
    shifted.affine[7] += 12;
    const GeometryComparison place = compare_geometry(shifted, reference);
    CHECK(place.match == GeometryMatch::elsewhere);
    CHECK(place.difference == "place: voxels up to 12.00 mm apart");
    const GeometryComparison spacing = compare_geometry(turned(degrees, {3, 1.5, 0.7}), reference);
    CHECK(spacing.match == GeometryMatch::elsewhere);
    CHECK(spacing.difference.find("spacing: 0.7 x 1.5 x 3 mm instead of 0.7 x 1 x 3 mm") == 0);
    Geometry claimed = reference;  // pixdim alone differs: the spacing that distances would be taken from
    claimed.spacing[1] = 2;
    CHECK(compare_geometry(claimed, reference).match == GeometryMatch::elsewhere);
    for (const double by : {5.0, 40.0, -40.0}) {  // also across the border where letters change
      CAPTURE(by);
      CHECK(compare_geometry(turned(degrees + by), reference).match == GeometryMatch::elsewhere);
    }
  }
}

TEST_CASE("every exchange and reversal of axes is another orientation") {
  for (const double degrees : {0.0, 20.0, 44.0}) {
    const Geometry reference = turned(degrees);
    std::array<std::size_t, 3> order{0, 1, 2};
    do {
      for (unsigned flips = 0; flips < 8; ++flips) {
        const std::array<bool, 3> flip{(flips & 1) != 0, (flips & 2) != 0, (flips & 4) != 0};
        CAPTURE(degrees);
        CAPTURE(flips);
        CAPTURE(order[0]);
        CAPTURE(order[1]);
        const bool identity = flips == 0 && std::is_sorted(order.begin(), order.end());
        Geometry volume = reoriented(reference, order, flip);
        volume.shape = reference.shape;  // the caller has refused other shapes
        const GeometryComparison result = compare_geometry(volume, reference);
        CHECK(result.match == (identity ? GeometryMatch::same : GeometryMatch::other_orientation));
        if (!identity) CHECK(result.difference.find("orientation: axes run along ") == 0);
      }
    } while (std::next_permutation(order.begin(), order.end()));
  }
  // The letters are equal, the axes are not.
  const GeometryComparison wide = compare_geometry(turned(-40), turned(40));
  CHECK(wide.match == GeometryMatch::other_orientation);
  CHECK(wide.difference.find("more than 45 degrees apart") != std::string::npos);
}

TEST_CASE("what cannot be compared voxel with voxel is refused by both names") {
  const auto refusal = [](const Geometry& volume, const Geometry& reference, bool any_orientation) -> std::string {
    try {
      e2enet::evaluate::require_comparable("p.nii", volume, "r.nii", reference, any_orientation);
    } catch (const e2enet::Error& error) {
      CHECK(error.code() == e2enet::ErrorCode::invalid_image);
      return error.what();
    }
    return "";
  };
  const Geometry reference = turned(10);
  CHECK(refusal(reference, reference, false).empty());
  CHECK(refusal(turned(12), reference, false).empty());
  CHECK(e2enet::evaluate::require_comparable("p", turned(12), "r", reference).match == GeometryMatch::elsewhere);
  Geometry longer = reference;
  ++longer.shape[0];
  for (const bool any : {false, true}) {
    CHECK(refusal(longer, reference, any).find("p.nii: expected the shape of r.nii, ") == 0);
  }
  Geometry turned_round = reference;
  for (const std::size_t element : {0, 4, 8}) turned_round.affine[element] *= -1;
  CHECK(refusal(turned_round, reference, false).find("p.nii: expected the orientation of r.nii, ") == 0);
  CHECK(refusal(turned_round, reference, true).empty());
}

}  // namespace
