// Finished tiles pooled, and pooled pixels into the pooled output.
#if defined(E2ENET_KERNELS_WINOGRAD_POOLING_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef E2ENET_KERNELS_WINOGRAD_POOLING_INL_H
#undef E2ENET_KERNELS_WINOGRAD_POOLING_INL_H
#else
#define E2ENET_KERNELS_WINOGRAD_POOLING_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/feature.h"
#include "kernels/vector-inl.h"
#include "kernels/winograd/output_item-inl.h"
#include "kernels/winograd/plan.h"
#include "kernels/winograd/transforms-inl.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {
namespace winograd_kernels {

// How a tile is pooled in its plane.
struct PlanePooling {
  int height = 0;  // 0: no pooling
  int width = 0;
  int depth = 0;
};

template <bool kMinimum>
HWY_INLINE FloatVector extreme(FloatVector a, FloatVector b) {
  return kMinimum ? hn::Min(a, b) : hn::Max(a, b);
}

// Pools a tile along H and W into `pooled` as [pooled pixel of the tile][lane].
template <bool kMinimum, int kHeight, int kWidth>
HWY_INLINE void pool_plane(const TileVectors& y, float* pooled, std::size_t stride) {
  const Floats d;
  E2ENET_UNROLL(4)
  for (int r = 0; r < kTile; r += kHeight) {
    E2ENET_UNROLL(4)
    for (int q = 0; q < kTile; q += kWidth) {
      FloatVector best = y[r * kTile + q];
      E2ENET_UNROLL(4)
      for (int a = 0; a < kHeight; ++a) {
        E2ENET_UNROLL(4)
        for (int b = 0; b < kWidth; ++b) best = extreme<kMinimum>(best, y[(r + a) * kTile + q + b]);
      }
      hn::Store(best, d, pooled);
      pooled += stride;
    }
  }
}

template <bool kMinimum>
void pool_tile(const PlanePooling& pooling, const TileVectors& y, float* pooled, std::size_t stride) {
  switch (pooling.height * 8 + pooling.width) {
    case 1 * 8 + 1:
      return pool_plane<kMinimum, 1, 1>(y, pooled, stride);
    case 1 * 8 + 2:
      return pool_plane<kMinimum, 1, 2>(y, pooled, stride);
    case 1 * 8 + 4:
      return pool_plane<kMinimum, 1, 4>(y, pooled, stride);
    case 2 * 8 + 1:
      return pool_plane<kMinimum, 2, 1>(y, pooled, stride);
    case 2 * 8 + 2:
      return pool_plane<kMinimum, 2, 2>(y, pooled, stride);
    case 2 * 8 + 4:
      return pool_plane<kMinimum, 2, 4>(y, pooled, stride);
    case 4 * 8 + 1:
      return pool_plane<kMinimum, 4, 1>(y, pooled, stride);
    case 4 * 8 + 2:
      return pool_plane<kMinimum, 4, 2>(y, pooled, stride);
    default:
      return pool_plane<kMinimum, 4, 4>(y, pooled, stride);
  }
}

template <typename T>
HWY_INLINE void put(T* to, float value);
template <>
HWY_INLINE void put(float* to, float value) {
  *to = value;
}
template <>
HWY_INLINE void put(std::uint16_t* to, float value) {
  *to = round_to_bf16(value);
}

template <typename T, bool kMinimum, int kDepth>
HWY_INLINE void pool_depth_by(const float* HWY_RESTRICT from, T* HWY_RESTRICT to, int count, int depth) {
  const int step = kDepth > 0 ? kDepth : depth;
  for (int i = 0; i < count; ++i) {
    float best = from[i * step];
    for (int k = 1; k < step; ++k) {
      const float other = from[i * step + k];
      best = kMinimum ? (other < best ? other : best) : (other > best ? other : best);
    }
    put(to + i, best);
  }
}

// Pools along D and stores the pooled rows of an item.
template <typename T, bool kMinimum>
void store_pooled(const OutputItem& item, const PlanePooling& pooling, const Feature& output, int channel,
                  const float* pooled) {
  const winograd::Tiling& tiling = item.plan->tiling;
  const int across = kTile / pooling.width;
  const int down = kTile / pooling.height;
  const int first_row = item.region.first_tile_row * down;
  const int first_pixel = item.region.first_tile * across;
  const int first_depth = item.region.first_depth / pooling.depth;
  const int rows = std::min(item.region.rows / pooling.height, output.extent.height - first_row);
  const int pixels = std::min(item.region.pixels / pooling.width, output.extent.width - first_pixel);
  const int depths = std::min(item.region.depths / pooling.depth, output.extent.depth - first_depth);
  for (int r = 0; r < rows; ++r) {
    T* to = static_cast<T*>(output.row(channel, first_row + r)) + first_depth;
    for (int q = 0; q < pixels; ++q) {
      const float* from = pooled + (r % down * across + q % across) * item.item_lanes +
                          (std::size_t(r / down) * tiling.tiles + q / across) * tiling.depth_segment;
      T* pixel = to + std::ptrdiff_t{first_pixel + q} * output.extent.depth;
      switch (pooling.depth) {
        case 1:
          pool_depth_by<T, kMinimum, 1>(from, pixel, depths, 1);
          break;
        case 2:
          pool_depth_by<T, kMinimum, 2>(from, pixel, depths, 2);
          break;
        default:
          pool_depth_by<T, kMinimum, 0>(from, pixel, depths, pooling.depth);
          break;
      }
    }
  }
}

}  // namespace winograd_kernels
}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
