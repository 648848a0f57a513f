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
  FlatTileStore(const OutputItem& item, const Feature& output, bool, float*) : depth_(item.plan->tiling.depth_segment) {
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
  int begin_[winograd::max_vectors(HWY_MAX_BYTES / sizeof(float)) + 1] = {};
  LaneRun runs_[winograd::kMaxLanes];
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

// The same past the caches: whole cache lines, at the beginning of one.
HWY_INLINE void stream_depths(const float* from, float* to, int count) {
  const Floats d;
  for (int i = 0; i < count; i += static_cast<int>(hn::Lanes(d))) hn::Stream(hn::LoadU(d, from + i), d, to + i);
}

HWY_INLINE void stream_depths(const float* from, std::uint16_t* to, int count) {
  const Floats d;
  const hn::ScalableTag<std::uint16_t> du16;
  const int lanes = static_cast<int>(hn::Lanes(d));
  HWY_ALIGN std::uint16_t rounded[HWY_MAX_BYTES / sizeof(std::uint16_t)];
  for (int i = 0; i < count; i += 2 * lanes) {
    store_elements(d, hn::LoadU(d, from + i), rounded);
    store_elements(d, hn::LoadU(d, from + i + lanes), rounded + lanes);
    hn::Stream(hn::Load(du16, rounded), du16, to + i);
  }
}

// Stores a flat item's finished tiles: collected as [pixel of the tile][lane], then cut into output rows.
class FlatTileStore {
 public:
  // stream: past the caches.
  FlatTileStore(const OutputItem& item, const Feature& output, bool stream, float* tiles)
      : item_(item), output_(output), stream_(stream), tiles_(tiles) {}

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
        const float* const lanes = from + (pixel % kTile) * item_.item_lanes + std::size_t(pixel / kTile) * depth;
        if (stream_) {
          stream_depths(lanes, to + pixel * depth, depth);
        } else {
          store_depths(lanes, to + pixel * depth, depth);
        }
      }
    }
  }

 private:
  const OutputItem& item_;
  const Feature& output_;
  bool stream_;
  float* tiles_;
};

#endif  // E2ENET_MASKS

// Vectors of lanes that fill a cache line, as elements.
template <typename T>
constexpr int kLineVectors = static_cast<int>(kCacheLine * sizeof(float) / (HWY_MAX_BYTES * sizeof(T)));

// Stores tiles past the caches, in whole cache lines: a line that is written in parts, with others' parts between them,
// may be sent to memory part by part. `rows` is where the vector's lane 0 goes in pixel 0 of the tile's rows; `part`
// is the vector's number among those of its lines. All parts but the last wait in `lines`, [pixel of the tile][part].
template <typename T>
HWY_INLINE void stream_tile(T* const* rows, std::ptrdiff_t at, std::ptrdiff_t depth, const TileVectors& y, int part,
                            T* lines) {
  const Floats d;
  const hn::ScalableTag<T> elements;
  constexpr int kParts = kLineVectors<T>;
  const std::ptrdiff_t lanes = static_cast<std::ptrdiff_t>(hn::Lanes(d));
  if constexpr (kParts == 1 && sizeof(T) == sizeof(float)) {
    E2ENET_UNROLL(16)
    for (int i = 0; i < kTile * kTile; ++i) hn::Stream(y[i], d, rows[i / kTile] + at + i % kTile * depth);
    return;
  }
  E2ENET_UNROLL(16)
  for (int i = 0; i < kTile * kTile; ++i) store_elements(d, y[i], lines + (i * kParts + part) * lanes);
  if (part + 1 < kParts) return;
  E2ENET_UNROLL(16)
  for (int i = 0; i < kTile * kTile; ++i) {
    T* const to = rows[i / kTile] + at - part * lanes + i % kTile * depth;
    const T* const from = lines + i * kParts * lanes;
    const int count = static_cast<int>(kCacheLine / sizeof(T));
    for (int e = 0; e < count; e += static_cast<int>(hn::Lanes(elements))) {
      hn::Stream(hn::Load(elements, from + e), elements, to + e);
    }
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
    stream_tile(rows, at, depth, y, vector % kLineVectors<T>, reinterpret_cast<T*>(buffer));
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

// Whether an output is best stored past the caches, and all that items write are whole cache lines. Tiles that are
// stored straight from the registers have parts of lines.
bool streams(const Plan& plan, const Feature& output) {
  return E2ENET_STREAMS && !(E2ENET_MASKS && plan.tiling.flat) &&
         plan.tiling.depth_segment * element_bytes(output.element) % kCacheLine == 0 && stores_past_caches(output);
}

}  // namespace winograd_kernels
}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
