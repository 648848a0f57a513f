// What the reference kernels share: one element at a time, in double.
#pragma once

#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/convolution.h"
#include "kernels/feature.h"

namespace e2enet::kernels::reference {

inline float read_element(const void* row, std::ptrdiff_t index, Element element) {
  if (element == Element::f32) return static_cast<const float*>(row)[index];
  return widen_bf16(static_cast<const std::uint16_t*>(row)[index]);
}

inline void write_element(void* row, std::ptrdiff_t index, Element element, float value) {
  if (element == Element::f32) {
    static_cast<float*>(row)[index] = value;
  } else {
    static_cast<std::uint16_t*>(row)[index] = round_to_bf16(value);
  }
}

inline double activate(const Activation& activation, int channel, double value) {
  if (activation.scale == nullptr) return value;
  const double normalised = double{activation.scale[channel]} * value + activation.offset[channel];
  return normalised > 0 ? normalised : normalised * activation.negative_slope;
}

// Voxel (channel, depth, row, pixel) of an activated source; 0 outside the patch.
inline double read_voxel(const Source& source, int channel, int depth, int row, int pixel) {
  const Extent& extent = source.feature.extent;
  if (depth < 0 || depth >= extent.depth || row < 0 || row >= extent.height || pixel < 0 || pixel >= extent.width) {
    return 0.0;
  }
  const float value = read_element(source.feature.row(channel, row), std::ptrdiff_t{pixel} * extent.depth + depth,
                                   source.feature.element);
  return activate(source.activation, channel, value);
}

}  // namespace e2enet::kernels::reference
