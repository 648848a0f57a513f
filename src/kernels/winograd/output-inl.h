// Step 3 of an item: products transformed back, with statistics and pooled values, into the output.
#if defined(E2ENET_KERNELS_WINOGRAD_OUTPUT_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef E2ENET_KERNELS_WINOGRAD_OUTPUT_INL_H
#undef E2ENET_KERNELS_WINOGRAD_OUTPUT_INL_H
#else
#define E2ENET_KERNELS_WINOGRAD_OUTPUT_INL_H
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "kernels/convolution.h"
#include "kernels/vector-inl.h"
#include "kernels/winograd/output_item-inl.h"
#include "kernels/winograd/plan.h"
#include "kernels/winograd/pooling-inl.h"
#include "kernels/winograd/statistics-inl.h"
#include "kernels/winograd/store-inl.h"
#include "kernels/winograd/transforms-inl.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {
namespace winograd_kernels {

template <typename Form, typename T, bool kStatistics>
void finish_outputs(const OutputItem& item, const ConvolutionArguments& arguments, std::int64_t slot, float* scratch) {
  const Floats d;
  const Plan& plan = *item.plan;
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  const int vectors = plan.tiling.vectors;
  PlanePooling pooling;
  if (arguments.pooled.feature.data != nullptr) {
    const Extent& to = arguments.pooled.feature.extent;
    const Stride stride = pooling_stride(plan.output, to);
    pooling = {stride.height, stride.width, stride.depth};
  }
  // Pixels that are cut along depth are none of a flat item's.
  const bool stream = (item.whole || plan.tiling.flat) && streams(plan, arguments.output);
  std::optional<FlatTileStore> flat_store;
  if (plan.tiling.flat) flat_store.emplace(item, arguments.output, stream, scratch + plan.tile_offset);
  for (int o = 0; o < plan.outputs; ++o) {
    const FloatVector bias = hn::Set(d, arguments.bias ? arguments.bias[o] : 0.0f);
    const bool minimum = pooling.height != 0 && arguments.pooled.take_minimum && arguments.pooled.take_minimum[o];
    T* const channel = static_cast<T*>(arguments.output.data) + o * arguments.output.channel_stride;
    T* rows[kTile] = {};
    if (!plan.tiling.flat) {
      for (int r = 0; r < std::min(kTile, item.region.rows); ++r) {
        rows[r] = static_cast<T*>(arguments.output.row(o, kTile * item.region.first_tile_row + r));
      }
    }
    ItemStatistics statistics;
    for (int v = 0; v < vectors; ++v) {
      TileVectors y;
      transform_products<Form>(scratch + (std::size_t(o) * vectors + v) * lanes, plan.region_stride, bias, y);
      if (plan.tiling.flat) {
        flat_store->store(v, y, channel);
      } else if (stream) {
        store_tile_vector<T, true>(item, rows, v, y, scratch + plan.tile_offset);
      } else {
        store_tile_vector<T, false>(item, rows, v, y, nullptr);
      }
      if constexpr (kStatistics) {
        if (item.whole) {
          statistics.add_whole(y, v);
        } else {
          statistics.add_partial(y, item.valid + v * lanes, item.item_lanes, hn::Load(d, item.reciprocals + v * lanes),
                                 v);
        }
      }
      if (pooling.height != 0) {
        float* pooled = scratch + plan.pooled_offset + v * lanes;
        if (minimum) {
          pool_tile<true>(pooling, y, pooled, item.item_lanes);
        } else {
          pool_tile<false>(pooling, y, pooled, item.item_lanes);
        }
      }
    }
    if (plan.tiling.flat) flat_store->finish(channel);
    if constexpr (kStatistics) {
      arguments.statistics[slot * plan.outputs + o] = statistics.finish(vectors, item.counts, item.region.voxels());
    }
    if (pooling.height != 0) {
      if (minimum) {
        store_pooled<T, true>(item, pooling, arguments.pooled.feature, o, scratch + plan.pooled_offset);
      } else {
        store_pooled<T, false>(item, pooling, arguments.pooled.feature, o, scratch + plan.pooled_offset);
      }
    }
  }
  if (stream) hwy::FlushStream();
}

template <typename Form>
void finish_outputs_of(const OutputItem& item, const ConvolutionArguments& arguments, std::int64_t slot,
                       float* scratch) {
  if (arguments.output.element == Element::f32) {
    if (arguments.statistics) return finish_outputs<Form, float, true>(item, arguments, slot, scratch);
    return finish_outputs<Form, float, false>(item, arguments, slot, scratch);
  }
  if (arguments.statistics) return finish_outputs<Form, std::uint16_t, true>(item, arguments, slot, scratch);
  finish_outputs<Form, std::uint16_t, false>(item, arguments, slot, scratch);
}

}  // namespace winograd_kernels
}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
