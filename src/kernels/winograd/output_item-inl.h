// Which lanes of an item are inside the output.
#if defined(E2ENET_KERNELS_WINOGRAD_OUTPUT_ITEM_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef E2ENET_KERNELS_WINOGRAD_OUTPUT_ITEM_INL_H
#undef E2ENET_KERNELS_WINOGRAD_OUTPUT_ITEM_INL_H
#else
#define E2ENET_KERNELS_WINOGRAD_OUTPUT_ITEM_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>

#include "kernels/vector-inl.h"
#include "kernels/winograd/plan.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {
namespace winograd_kernels {

using winograd::ItemRegion;
using winograd::kTile;
using winograd::Plan;

// Where an item's lanes lie in the output, shared by all its output channels.
struct OutputItem {
  const Plan* plan = nullptr;
  ItemRegion region;
  bool whole = false;  // no lane or pixel of the item is outside the output
  const float* valid = nullptr;
  const float* counts = nullptr;
  const float* reciprocals = nullptr;
  std::size_t item_lanes = 0;
};

// Fills in `whole` and, where it is false, the tables of valid lanes.
void find_valid_lanes(OutputItem& item, float* scratch) {
  const Plan& plan = *item.plan;
  const winograd::Tiling& tiling = plan.tiling;
  const std::size_t used = std::size_t(tiling.tile_rows) * tiling.tiles * tiling.depth_segment;
  item.item_lanes = std::size_t(tiling.vectors) * plan.unit.lanes;
  item.whole = used == item.item_lanes && item.region.rows == kTile * tiling.tile_rows &&
               item.region.pixels == kTile * tiling.tiles && item.region.depths == tiling.depth_segment;
  if (item.whole) return;
  float* valid = scratch + plan.validity_offset;
  float* counts = scratch + plan.counts_offset;
  float* reciprocals = counts + item.item_lanes;
  std::fill(valid, valid + kTile * kTile * item.item_lanes, 0.0f);
  std::fill(counts, counts + 2 * item.item_lanes, 0.0f);
  for (int tile_row = 0; tile_row < tiling.tile_rows; ++tile_row) {
    const int rows = std::clamp(item.region.rows - kTile * tile_row, 0, kTile);
    for (int tile = 0; tile < tiling.tiles; ++tile) {
      const int pixels = std::clamp(item.region.pixels - kTile * tile, 0, kTile);
      const std::size_t lane = std::size_t(tile_row * tiling.tiles + tile) * tiling.depth_segment;
      if (rows * pixels == 0) continue;
      for (int r = 0; r < rows; ++r) {
        for (int q = 0; q < pixels; ++q) {
          float* to = valid + (r * kTile + q) * item.item_lanes + lane;
          std::fill(to, to + item.region.depths, 1.0f);
        }
      }
      std::fill(counts + lane, counts + lane + item.region.depths, float(rows * pixels));
      std::fill(reciprocals + lane, reciprocals + lane + item.region.depths, 1.0f / float(rows * pixels));
    }
  }
  item.valid = valid;
  item.counts = counts;
  item.reciprocals = reciprocals;
}

}  // namespace winograd_kernels
}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
