// What a kernel reads and writes: features of a patch, and how to look at them.
//
// A feature lies in memory as [C][H][W][D], depth innermost and contiguous. The restricted depth shift is then a
// pointer offset, a concatenation is a list of features, and narrow levels waste no lanes on width.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/extent.h"
#include "kernels/machine.h"

namespace e2enet::kernels {

enum class Element : std::uint8_t { f32, bf16 };

constexpr std::size_t element_bytes(Element element) { return element == Element::f32 ? 4 : 2; }

using e2enet::Extent;
using e2enet::Stride;

// `channels` planes of extent.height rows; a row is extent.width pixels of extent.depth contiguous elements.
//
// Row h of channel c begins at element  c * channel_stride + (h mod stored_rows) * (width * depth + row_gap).
// stored_rows is extent.height for a whole feature, and less for a ring that holds only the rows now in use.
struct Feature {
  void* data = nullptr;
  Element element = Element::f32;
  int channels = 0;
  Extent extent;
  std::ptrdiff_t channel_stride = 0;
  int stored_rows = 0;
  int row_gap = 0;

  std::ptrdiff_t row_elements() const { return std::ptrdiff_t{extent.width} * extent.depth; }
  std::ptrdiff_t element_offset(int channel, int row) const {
    return channel * channel_stride + (row % stored_rows) * (row_elements() + row_gap);
  }
  void* row(int channel, int row_index) const {
    return static_cast<char*>(data) +
           element_offset(channel, row_index) * static_cast<std::ptrdiff_t>(element_bytes(element));
  }
};

using machine::kCacheLine;

// Whether a feature is so large that its reader will not find it in a cache, and its pixels are whole cache lines.
// Stored past the caches, it costs no reading of what is there before.
inline bool stores_past_caches(const Feature& feature) {
  const std::size_t bytes = element_bytes(feature.element);
  return feature.extent.depth * bytes % kCacheLine == 0 && feature.row_gap * bytes % kCacheLine == 0 &&
         feature.channel_stride * bytes % kCacheLine == 0 &&
         reinterpret_cast<std::uintptr_t>(feature.data) % kCacheLine == 0 &&
         feature.channels * feature.channel_stride * bytes >= machine::kStreamedFeatureBytes;
}

// What a reader applies to each element of channel c before use: the instance norm and LeakyReLU of the block that
// wrote the feature, y = LeakyReLU(scale[c] * x + offset[c]). The writer stored its bare convolution, since the norm's
// statistics are known only when the last voxel is. scale == nullptr: elements are taken as they are.
struct Activation {
  const float* scale = nullptr;
  const float* offset = nullptr;
  float negative_slope = 0.01f;
};

}  // namespace e2enet::kernels
