// The distance transform against the definition, evaluated for every pair of voxels.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "evaluate/distance_transform.h"

namespace {

using e2enet::Shape;
using e2enet::Spacing;
using e2enet::evaluate::squared_distance_transform;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<double> by_definition(const std::vector<double>& field, const Shape& shape, const Spacing& spacing) {
  std::vector<double> result(field.size(), kInfinity);
  for (std::size_t at = 0; at < field.size(); ++at) {
    for (std::size_t of = 0; of < field.size(); ++of) {
      if (field[of] != 0) continue;
      const auto a = static_cast<std::int64_t>(at), b = static_cast<std::int64_t>(of);
      const double d = static_cast<double>(a / (shape[1] * shape[2]) - b / (shape[1] * shape[2])) * spacing[0];
      const double h = static_cast<double>(a / shape[2] % shape[1] - b / shape[2] % shape[1]) * spacing[1];
      const double w = static_cast<double>(a % shape[2] - b % shape[2]) * spacing[2];
      result[at] = std::min(result[at], d * d + h * h + w * w);
    }
  }
  return result;
}

TEST_CASE("squared distances are those of the definition, whatever the shape, spacing and density of the set") {
  const Shape shapes[] = {{1, 1, 1}, {1, 1, 13}, {9, 1, 1}, {1, 7, 1}, {5, 6, 7}, {2, 11, 3}, {8, 3, 10}};
  const Spacing spacings[] = {{1, 1, 1}, {5, 0.7, 0.7}, {0.1, 3, 1.25}, {1e-3, 1, 1e3}};
  std::mt19937 random(20240817);
  for (const Shape& shape : shapes) {
    for (const Spacing& spacing : spacings) {
      for (const double density : {0.01, 0.1, 0.5, 1.0}) {
        CAPTURE(shape[0]);
        CAPTURE(shape[1]);
        CAPTURE(shape[2]);
        CAPTURE(spacing[0]);
        CAPTURE(spacing[1]);
        CAPTURE(spacing[2]);
        CAPTURE(density);
        std::vector<double> field(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]), kInfinity);
        for (double& value : field) {
          if (std::uniform_real_distribution<>(0, 1)(random) < density) value = 0;
        }
        const std::vector<double> expected = by_definition(field, shape, spacing);
        squared_distance_transform(field, shape, spacing, 2);
        for (std::size_t i = 0; i < field.size(); ++i) {
          CAPTURE(i);
          if (expected[i] == kInfinity) {
            REQUIRE(field[i] == kInfinity);
          } else {
            REQUIRE(field[i] == doctest::Approx(expected[i]).epsilon(1e-12));
          }
        }
      }
    }
  }
}

TEST_CASE("an empty set is infinitely far from every voxel") {
  std::vector<double> field(24, kInfinity);
  squared_distance_transform(field, {2, 3, 4}, {1, 2, 3}, 2);
  for (const double value : field) CHECK(value == kInfinity);
}

}  // namespace
