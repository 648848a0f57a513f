#include "image/orientation.h"

#include <algorithm>
#include <cmath>

#include "e2enet/error.h"
#include "image/matrix.h"

namespace e2enet::imaging {
namespace {

// World axis 0, 1, 2 = x, y, z and direction of each of i, j, k.
struct Directions {
  std::array<int, 3> world;
  std::array<bool, 3> negative;
};

// Of the six ways to pair file axes with world axes, the one with the largest sum of direction cosines: also for
// oblique volumes every axis gets a letter of its own.
Directions directions(const Affine& affine) {
  Axes cosines = axes_of(affine);  // row: world axis, column: file axis
  for (int axis = 0; axis < 3; ++axis) {
    const double of_axis = length(cosines.col(axis));
    if (of_axis > 0) {
      cosines.col(axis) /= of_axis;
    } else {
      cosines.col(axis).setZero();
    }
  }
  std::array<int, 3> order{0, 1, 2};
  Directions best{order, {false, false, false}};
  double best_sum = -1;
  do {
    double sum = 0;
    for (std::size_t axis = 0; axis < 3; ++axis) sum += std::abs(cosines(order[axis], static_cast<int>(axis)));
    if (sum > best_sum + 1e-9) {
      best_sum = sum;
      best.world = order;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  for (std::size_t axis = 0; axis < 3; ++axis) {
    best.negative[axis] = cosines(best.world[axis], static_cast<int>(axis)) < 0;
  }
  return best;
}

constexpr char kPositive[] = "RAS";
constexpr char kNegative[] = "LPI";

}  // namespace

Shape AxisMap::shape(const Shape& of_source) const {
  Shape result;
  for (std::size_t a = 0; a < 3; ++a) result[a] = of_source[static_cast<std::size_t>(source[a])];
  return result;
}

Spacing AxisMap::spacing(const Spacing& of_source) const {
  Spacing result;
  for (std::size_t a = 0; a < 3; ++a) result[a] = of_source[static_cast<std::size_t>(source[a])];
  return result;
}

int AxisMap::inverse(int source_axis) const {
  return static_cast<int>(std::find(source.begin(), source.end(), source_axis) - source.begin());
}

AxisMap transposed(const AxisMap& first, const std::array<int, 3>& transpose) {
  AxisMap result;
  for (std::size_t a = 0; a < 3; ++a) {
    result.source[a] = first.source[static_cast<std::size_t>(transpose[a])];
    result.flip[a] = first.flip[static_cast<std::size_t>(transpose[a])];
  }
  return result;
}

std::string orientation_code(const Affine& affine) {
  const Directions d = directions(affine);
  std::string code;
  for (std::size_t axis = 0; axis < 3; ++axis) code += (d.negative[axis] ? kNegative : kPositive)[d.world[axis]];
  return code;
}

AxisMap map_to_orientation(const Affine& affine, const std::string& code) {
  AxisMap map;
  if (code.empty()) return map;
  const auto refuse = [&]() {
    throw Error(ErrorCode::invalid_argument,
                "orientation: expected three letters, one of R/L, one of A/P, one of S/I, found '" + code + "'");
  };
  if (code.size() != 3) refuse();
  const Directions file = directions(affine);
  std::array<bool, 3> used{false, false, false};
  for (std::size_t axis = 0; axis < 3; ++axis) {  // i, j, k of the new frame
    int world = -1;
    bool negative = false;
    for (int w = 0; w < 3; ++w) {
      if (code[axis] == kPositive[w] || code[axis] == kNegative[w]) {
        world = w;
        negative = code[axis] == kNegative[w];
      }
    }
    if (world < 0 || used[static_cast<std::size_t>(world)]) refuse();
    used[static_cast<std::size_t>(world)] = true;
    const std::size_t file_axis =
        static_cast<std::size_t>(std::find(file.world.begin(), file.world.end(), world) - file.world.begin());
    // i, j, k are axes 2, 1, 0 of arrays.
    map.source[2 - axis] = 2 - static_cast<int>(file_axis);
    map.flip[2 - axis] = file.negative[file_axis] != negative;
  }
  return map;
}

}  // namespace e2enet::imaging
