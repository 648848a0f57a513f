// The mask of voxels that are not zero in any channel: one bit a voxel.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "e2enet/volume.h"
#include "image/orientation.h"
#include "prepare/axis_operator.h"
#include "prepare/resample.h"

namespace e2enet::imaging {

class BitVolume {
 public:
  BitVolume() = default;
  explicit BitVolume(const Shape& shape);

  const Shape& shape() const { return shape_; }
  bool get(std::int64_t d, std::int64_t h, std::int64_t w) const { return row(d, h)[w / 64] >> (w % 64) & 1; }
  // The row's bits, lowest first; those beyond the width are 0.
  std::uint64_t* row(std::int64_t d, std::int64_t h) { return words_.data() + (d * shape_[1] + h) * words_in_row_; }
  const std::uint64_t* row(std::int64_t d, std::int64_t h) const {
    return words_.data() + (d * shape_[1] + h) * words_in_row_;
  }
  // Sets the bits of the row's elements that are not 0; NaN is not.
  void add_nonzero(std::int64_t d, std::int64_t h, const float* values);

  BitVolume cropped(const Box& box) const;

 private:
  Shape shape_{0, 0, 0};
  std::int64_t words_in_row_ = 0;
  std::vector<std::uint64_t> words_;
};

// Sets every bit that cannot reach the outside of the volume through faces of unset bits.
void fill_holes(BitVolume& mask);

// The mask at another resolution: a voxel is inside where the interpolated mask is at least 0.5, or where rounding
// leaves neither inside nor outside at 0.5. The weights are multiplied and added in the order of scipy's joint
// interpolation (axes of the network's frame, slowest first), because a half is common here and must fall on the same
// side.
class MaskResampler {
 public:
  // `along` are linear or nearest operators for the mask's D, H, W; `frame` says how the network's axes lie in these.
  MaskResampler(BitVolume mask, const std::array<AxisOperator, 3>& along, const AxisMap& frame);

  Shape shape() const { return {along_[0].output_size, along_[1].output_size, along_[2].output_size}; }

  // One output slice: 1 inside, 0 outside.
  void slice(std::int64_t d, std::uint8_t* out) const;

 private:
  BitVolume mask_;
  std::array<AxisOperator, 3> along_;
  AxisMap frame_;
};

}  // namespace e2enet::imaging
