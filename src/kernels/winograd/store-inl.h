// Finished tiles into the output: whole, cut at its border, or past the caches.
#if defined(E2ENET_KERNELS_WINOGRAD_STORE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef E2ENET_KERNELS_WINOGRAD_STORE_INL_H
#undef E2ENET_KERNELS_WINOGRAD_STORE_INL_H
#else
#define E2ENET_KERNELS_WINOGRAD_STORE_INL_H
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/feature.h"
#include "kernels/isa-inl.h"
#include "kernels/vector-inl.h"
#include "kernels/winograd/output_item-inl.h"
#include "kernels/winograd/plan.h"
#include "kernels/winograd/transforms-inl.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {
namespace winograd_kernels {

#if E2ENET_MASKS

// Lanes of one vector of a flat item that lie in the same tile, so that each pixel of the tile takes them with one
// store.
struct LaneRun {
  int first = 0;
  int last = 0;
  int rows = 0;                           // of the tile that are inside the output
  int pixels = 0;                         // of each row
  std::ptrdiff_t row_offset[kTile] = {};  // where lane 0 would go, in a channel's elements
};

// Stores a flat item's finished tiles: straight from the registers.
class FlatTileStore {
 public:
  FlatTileStore(const OutputItem& item, const Feature& output, float*) : depth_(item.plan->tiling.depth_segment) {
    const winograd::Tiling& tiling = item.plan->tiling;
    const int lanes = static_cast<int>(hn::Lanes(Floats()));
    const int depth = tiling.depth_segment;
    const int used = tiling.tile_rows * tiling.tiles * depth;
    for (int v = 0; v < tiling.vectors; ++v) {
      begin_[v] = count_;
      const int end = std::min((v + 1) * lanes, used);
      for (int lane = v * lanes; lane < end;) {
        const int tile = lane / depth;
        LaneRun run;
        run.first = lane - v * lanes;
        lane = std::min(end, (tile + 1) * depth);
        run.last = lane - v * lanes;
        run.rows = std::clamp(item.region.rows - kTile * (tile / tiling.tiles), 0, kTile);
        run.pixels = std::clamp(item.region.pixels - kTile * (tile % tiling.tiles), 0, kTile);
        const std::ptrdiff_t in_row =
            std::ptrdiff_t{kTile} * (item.region.first_tile + tile % tiling.tiles) * depth - (tile * depth - v * lanes);
        for (int r = 0; r < run.rows; ++r) {
          const int row = kTile * (item.region.first_tile_row + tile / tiling.tiles) + r;
          run.row_offset[r] = output.element_offset(0, row) + in_row;
        }
        runs_[count_++] = run;
      }
    }
    begin_[tiling.vectors] = count_;
  }

  // The tiles of one vector of lanes, of the output channel that begins at `channel`.
  template <typename T>
  HWY_INLINE void store(int vector, const TileVectors& y, T* channel) const {
    const Floats d;
    for (int i = begin_[vector]; i < begin_[vector + 1]; ++i) {
      const LaneRun& run = runs_[i];
      T* to[kTile];
      E2ENET_UNROLL(4)
      for (int r = 0; r < kTile; ++r) to[r] = channel + run.row_offset[r];
      const std::size_t first = static_cast<std::size_t>(run.first);
      const std::size_t last = static_cast<std::size_t>(run.last);
      if (run.rows == kTile && run.pixels == kTile) {
        E2ENET_UNROLL(16)
        for (int p = 0; p < kTile * kTile; ++p) {
          store_between(d, y[p], to[p / kTile] + p % kTile * depth_, first, last);
        }
      } else {
        E2ENET_UNROLL(16)
        for (int p = 0; p < kTile * kTile; ++p) {
          if (p / kTile >= run.rows || p % kTile >= run.pixels) continue;
          store_between(d, y[p], to[p / kTile] + p % kTile * depth_, first, last);
        }
      }
    }
  }

  // When all vectors of a channel are stored.
  template <typename T>
  void finish(T*) const {}

 private:
  std::ptrdiff_t depth_;
  int count_ = 0;
  int begin_[winograd::kMaxVectors + 1] = {};
  LaneRun runs_[winograd::kMaxVectors * HWY_MAX_BYTES / sizeof(float)];
};

#else

// Copies whole pixels from lanes to an output row. Writes exactly `count` elements at `to`.
template <typename T>
HWY_INLINE void store_depths(const float* from, T* to, int count) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  int i = 0;
  for (; i + lanes <= count; i += lanes) store_elements(d, hn::LoadU(d, from + i), to + i);
  if (i == count) return;
  if (count >= lanes) {  // the last vector overlaps the one before
    store_elements(d, hn::LoadU(d, from + count - lanes), to + count - lanes);
  } else {
    store_some(d, hn::LoadU(d, from), to, count);
  }
}

// Stores a flat item's finished tiles: collected as [pixel of the tile][lane], then cut into output rows.
class FlatTileStore {
 public:
  FlatTileStore(const OutputItem& item, const Feature& output, float* tiles)
      : item_(item), output_(output), tiles_(tiles) {}

  // The tiles of one vector of lanes, of the output channel that begins at `channel`.
  template <typename T>
  HWY_INLINE void store(int vector, const TileVectors& y, T*) const {
    const Floats d;
    E2ENET_UNROLL(16)
    for (int i = 0; i < kTile * kTile; ++i) {
      hn::Store(y[i], d, tiles_ + vector * hn::Lanes(d) + i * item_.item_lanes);
    }
  }

  // When all vectors of a channel are stored.
  template <typename T>
  void finish(T* channel) const {
    const winograd::Tiling& tiling = item_.plan->tiling;
    const int depth = tiling.depth_segment;
    const std::ptrdiff_t first = std::ptrdiff_t{kTile} * item_.region.first_tile * depth;
    for (int r = 0; r < item_.region.rows; ++r) {
      T* to = channel + output_.element_offset(0, kTile * item_.region.first_tile_row + r) + first;
      const float* from =
          tiles_ + (r % kTile) * kTile * item_.item_lanes + std::size_t(r / kTile) * tiling.tiles * depth;
      for (int pixel = 0; pixel < item_.region.pixels; ++pixel) {
        store_depths(from + (pixel % kTile) * item_.item_lanes + std::size_t(pixel / kTile) * depth, to + pixel * depth,
                     depth);
      }
    }
  }

 private:
  const OutputItem& item_;
  const Feature& output_;
  float* tiles_;
};

#endif  // E2ENET_MASKS

// Stores a whole vector of tiles past the caches, in whole cache lines. `at` is where pixel 0 of the tile goes in its
// row; `second` says that the vector before went to the first half of the same lines, if elements are halves of floats.
HWY_INLINE void stream_tile(float* const* rows, std::ptrdiff_t at, std::ptrdiff_t depth, const TileVectors& y, bool,
                            float*) {
  const Floats d;
  E2ENET_UNROLL(16)
  for (int i = 0; i < kTile * kTile; ++i) hn::Stream(y[i], d, rows[i / kTile] + at + i % kTile * depth);
}

HWY_INLINE void stream_tile(std::uint16_t* const* rows, std::ptrdiff_t at, std::ptrdiff_t depth, const TileVectors& y,
                            bool second, float* buffer) {
  const Floats d;
  const hn::ScalableTag<std::uint16_t> du16;
  const int lanes = static_cast<int>(hn::Lanes(d));
  auto* held = reinterpret_cast<std::uint16_t*>(buffer);
  E2ENET_UNROLL(16)
  for (int i = 0; i < kTile * kTile; ++i) store_elements(d, y[i], held + (2 * i + (second ? 1 : 0)) * lanes);
  if (!second) return;
  E2ENET_UNROLL(16)
  for (int i = 0; i < kTile * kTile; ++i) {
    hn::Stream(hn::Load(du16, held + 2 * i * lanes), du16, rows[i / kTile] + at - lanes + i % kTile * depth);
  }
}

// Stores one vector of tiles whose lanes lie within one pixel.
template <typename T, bool kStream>
HWY_INLINE void store_tile_vector(const OutputItem& item, T* const* rows, int vector, const TileVectors& y,
                                  float* buffer) {
  const Floats d;
  const Plan& plan = *item.plan;
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  const int parts = plan.tiling.depth_segment / lanes;
  const int tile = vector / parts;
  const int depth = plan.output.depth;
  const std::ptrdiff_t at = std::ptrdiff_t{kTile} * (item.region.first_tile + tile) * depth + item.region.first_depth +
                            vector % parts * lanes;
  if constexpr (kStream) {
    stream_tile(rows, at, depth, y, vector % 2 == 1, buffer);
    return;
  }
  if (item.whole) {
    E2ENET_UNROLL(16)
    for (int i = 0; i < kTile * kTile; ++i) {
      store_elements(d, y[i], rows[i / kTile] + at + std::ptrdiff_t{i % kTile} * depth);
    }
    return;
  }
  const int valid = std::min(lanes, item.region.depths - vector % parts * lanes);
  const int pixels = item.region.pixels - kTile * tile;
  if (valid <= 0) return;
  E2ENET_UNROLL(16)
  for (int i = 0; i < kTile * kTile; ++i) {
    if (i / kTile >= item.region.rows || i % kTile >= pixels) continue;
    T* to = rows[i / kTile] + at + std::ptrdiff_t{i % kTile} * depth;
    if (valid == lanes) {
      store_elements(d, y[i], to);
    } else {
      store_some(d, y[i], to, valid);
    }
  }
}

// Whether an output is best stored past the caches, and all that items write are whole cache lines.
bool streams(const Plan& plan, const Feature& output) {
  return sizeof(float) * plan.unit.lanes == kCacheLine && !plan.tiling.flat &&
         plan.tiling.depth_segment * element_bytes(output.element) % kCacheLine == 0 && stores_past_caches(output);
}

}  // namespace winograd_kernels
}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
