// Whole numbers along D, H, W, for all that a network is made of: patches, features, strides. Volumes of images, whose
// sizes need 64 bits, have the public Shape (e2enet/volume.h), parts of them Box; tiles/volume_extent.h stands between.
#pragma once

#include <array>
#include <cstddef>

namespace e2enet {

struct Extent {
  int depth = 0;
  int height = 0;
  int width = 0;

  constexpr Extent() = default;
  constexpr Extent(int d, int h, int w) : depth(d), height(h), width(w) {}
  // As the public interface says it, and back.
  constexpr Extent(const std::array<int, 3>& values) : Extent(values[0], values[1], values[2]) {}
  constexpr operator std::array<int, 3>() const { return {depth, height, width}; }

  // Axis 0, 1, 2 is D, H, W.
  constexpr int& operator[](std::size_t axis) { return axis == 0 ? depth : axis == 1 ? height : width; }
  constexpr int operator[](std::size_t axis) const { return axis == 0 ? depth : axis == 1 ? height : width; }

  constexpr std::ptrdiff_t voxels() const { return std::ptrdiff_t{depth} * height * width; }

  friend constexpr bool operator==(const Extent& a, const Extent& b) {
    return a.depth == b.depth && a.height == b.height && a.width == b.width;
  }
  friend constexpr bool operator!=(const Extent& a, const Extent& b) { return !(a == b); }
};

// Steps along D, H, W of a convolution or pooling.
using Stride = Extent;

}  // namespace e2enet
