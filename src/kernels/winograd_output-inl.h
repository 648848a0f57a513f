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

#include "kernels/bf16.h"
#include "kernels/convolution.h"
#include "kernels/vector-inl.h"
#include "kernels/winograd_plan.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {
namespace winograd_kernels {

using winograd::ItemRegion;
using winograd::kTile;
using winograd::Plan;
using winograd::Strided;
using winograd::Unstrided;

using TileVectors = FloatVector[kTile * kTile];

// One dimension of A^T m: from the products of a patch's positions to four outputs.
template <typename Form>
HWY_INLINE void transform_output(const FloatVector (&m)[Form::kPatch], FloatVector (&y)[kTile]);

template <>
HWY_INLINE void transform_output<Unstrided>(const FloatVector (&m)[Unstrided::kPatch], FloatVector (&y)[kTile]) {
  const Floats d;
  const FloatVector sum12 = hn::Add(m[1], m[2]);
  const FloatVector difference12 = hn::Sub(m[1], m[2]);
  const FloatVector sum34 = hn::Add(m[3], m[4]);
  const FloatVector difference34 = hn::Sub(m[3], m[4]);
  y[0] = hn::Add(hn::Add(m[0], sum12), sum34);
  y[1] = hn::MulAdd(hn::Set(d, 2.0f), difference34, difference12);
  y[2] = hn::MulAdd(hn::Set(d, 4.0f), sum34, sum12);
  y[3] = hn::MulAdd(hn::Set(d, 8.0f), difference34, hn::Add(difference12, m[5]));
}

template <>
HWY_INLINE void transform_output<Strided>(const FloatVector (&m)[Strided::kPatch], FloatVector (&y)[kTile]) {
  const Floats d;
  const FloatVector sum12 = hn::Add(m[1], m[2]);
  const FloatVector difference12 = hn::Sub(m[1], m[2]);
  y[0] = hn::Add(hn::Add(m[0], sum12), hn::Add(m[3], m[5]));
  y[1] = hn::MulAdd(hn::Set(d, 2.0f), m[3], hn::Add(difference12, m[6]));
  y[2] = hn::MulAdd(hn::Set(d, 4.0f), m[3], hn::Add(sum12, m[7]));
  y[3] = hn::MulAdd(hn::Set(d, 8.0f), m[3], hn::Add(difference12, hn::Add(m[4], m[8])));
}

// Products of row `i` of positions, transformed along W. Position (1, 1) gets the bias, since its column of A^T (x) A^T
// is all ones.
template <typename Form>
HWY_INLINE void transform_products_row(const float* products, std::size_t stride, int i, FloatVector bias,
                                       FloatVector (&y)[kTile]) {
  const Floats d;
  const float* from = products + i * Form::kPatch * stride;
  FloatVector m[Form::kPatch];
  E2ENET_UNROLL(9)
  for (int j = 0; j < Form::kPatch; ++j) m[j] = hn::Load(d, from + j * stride);
  if (i == 1) m[1] = hn::Add(m[1], bias);
  transform_output<Form>(m, y);
}

// The transform along H takes rows of positions in an order that needs few of them at a time.
template <typename Form>
HWY_INLINE void transform_products(const float* products, std::size_t stride, FloatVector bias, TileVectors& y);

template <>
HWY_INLINE void transform_products<Unstrided>(const float* products, std::size_t stride, FloatVector bias,
                                              TileVectors& y) {
  const Floats d;
  FloatVector row1[kTile], row2[kTile], row[kTile];
  transform_products_row<Unstrided>(products, stride, 1, bias, row1);
  transform_products_row<Unstrided>(products, stride, 2, bias, row2);
  transform_products_row<Unstrided>(products, stride, 0, bias, row);
  E2ENET_UNROLL(4)
  for (int q = 0; q < kTile; ++q) {
    const FloatVector sum = hn::Add(row1[q], row2[q]);
    const FloatVector difference = hn::Sub(row1[q], row2[q]);
    y[q] = hn::Add(row[q], sum);
    y[kTile + q] = difference;
    y[2 * kTile + q] = sum;
    y[3 * kTile + q] = difference;
  }
  transform_products_row<Unstrided>(products, stride, 3, bias, row1);
  transform_products_row<Unstrided>(products, stride, 4, bias, row2);
  transform_products_row<Unstrided>(products, stride, 5, bias, row);
  E2ENET_UNROLL(4)
  for (int q = 0; q < kTile; ++q) {
    const FloatVector sum = hn::Add(row1[q], row2[q]);
    const FloatVector difference = hn::Sub(row1[q], row2[q]);
    y[q] = hn::Add(y[q], sum);
    y[kTile + q] = hn::MulAdd(hn::Set(d, 2.0f), difference, y[kTile + q]);
    y[2 * kTile + q] = hn::MulAdd(hn::Set(d, 4.0f), sum, y[2 * kTile + q]);
    y[3 * kTile + q] = hn::Add(hn::MulAdd(hn::Set(d, 8.0f), difference, y[3 * kTile + q]), row[q]);
  }
}

template <>
HWY_INLINE void transform_products<Strided>(const float* products, std::size_t stride, FloatVector bias,
                                            TileVectors& y) {
  const Floats d;
  FloatVector row1[kTile], row2[kTile], row[kTile];
  transform_products_row<Strided>(products, stride, 1, bias, row1);
  transform_products_row<Strided>(products, stride, 2, bias, row2);
  transform_products_row<Strided>(products, stride, 3, bias, row);
  E2ENET_UNROLL(4)
  for (int q = 0; q < kTile; ++q) {
    const FloatVector sum = hn::Add(row1[q], row2[q]);
    const FloatVector difference = hn::Sub(row1[q], row2[q]);
    y[q] = hn::Add(row[q], sum);
    y[kTile + q] = hn::MulAdd(hn::Set(d, 2.0f), row[q], difference);
    y[2 * kTile + q] = hn::MulAdd(hn::Set(d, 4.0f), row[q], sum);
    y[3 * kTile + q] = hn::MulAdd(hn::Set(d, 8.0f), row[q], difference);
  }
  // Rows 0 and 4 of the odd samples, and 5 to 8 of the even ones, belong to one row of outputs each.
  const auto add_row = [&](int i, int output_row) HWY_ATTR {
    transform_products_row<Strided>(products, stride, i, bias, row);
    E2ENET_UNROLL(4)
    for (int q = 0; q < kTile; ++q) y[output_row * kTile + q] = hn::Add(y[output_row * kTile + q], row[q]);
  };
  add_row(0, 0);
  add_row(4, 3);
  add_row(5, 0);
  add_row(6, 1);
  add_row(7, 2);
  add_row(8, 3);
}

// Mean and squared deviations of an item's values of one channel: per lane over the 16 pixels of a tile, where they are
// in registers, then merged over lanes. Never a difference of large sums, so a mean far above the deviation is
// harmless.
class ItemStatistics {
 public:
  // All lanes and pixels valid.
  HWY_INLINE void add_whole(const TileVectors& y, int vector) {
    const Floats d;
    FloatVector sum[kTile];
    E2ENET_UNROLL(4)
    for (int r = 0; r < kTile; ++r) {
      const FloatVector* row = y + r * kTile;
      sum[r] = hn::Add(hn::Add(row[0], row[1]), hn::Add(row[2], row[3]));
    }
    const FloatVector mean =
        hn::Mul(hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3])), hn::Set(d, 1.0f / (kTile * kTile)));
    FloatVector squares0 = hn::Zero(d), squares1 = hn::Zero(d);
    E2ENET_UNROLL(8)
    for (int i = 0; i < kTile * kTile; i += 2) {
      const FloatVector deviation0 = hn::Sub(y[i], mean);
      const FloatVector deviation1 = hn::Sub(y[i + 1], mean);
      squares0 = hn::MulAdd(deviation0, deviation0, squares0);
      squares1 = hn::MulAdd(deviation1, deviation1, squares1);
    }
    store(mean, hn::Add(squares0, squares1), vector);
  }

  // valid[i]: 1 or 0 per lane for pixel i; reciprocal: of the number of valid pixels per lane.
  HWY_INLINE void add_partial(const TileVectors& y, const float* valid, std::size_t stride, FloatVector reciprocal,
                              int vector) {
    const Floats d;
    FloatVector sum = hn::Zero(d);  // of differences from pixel 0, which is valid if any is
    E2ENET_UNROLL(16)
    for (int i = 1; i < kTile * kTile; ++i) {
      sum = hn::MulAdd(hn::Sub(y[i], y[0]), hn::Load(d, valid + i * stride), sum);
    }
    const FloatVector mean = hn::MulAdd(sum, reciprocal, y[0]);
    FloatVector squares = hn::Zero(d);
    E2ENET_UNROLL(16)
    for (int i = 0; i < kTile * kTile; ++i) {
      const FloatVector deviation = hn::Mul(hn::Sub(y[i], mean), hn::Load(d, valid + i * stride));
      squares = hn::MulAdd(deviation, deviation, squares);
    }
    store(mean, squares, vector);
  }

  // counts: valid pixels per lane, or nullptr where all lanes and pixels are.
  HWY_INLINE PartialStatistics finish(int vectors, const float* counts, std::int64_t voxels) const {
    const Floats d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    const FloatVector whole = hn::Set(d, float(kTile * kTile));
    const FloatVector pivot = hn::Set(d, means_[0]);
    FloatVector sum = hn::Zero(d);
    for (int v = 0; v < vectors; ++v) {
      const FloatVector count = counts ? hn::Load(d, counts + v * lanes) : whole;
      sum = hn::MulAdd(count, hn::Sub(hn::Load(d, means_ + v * lanes), pivot), sum);
    }
    const FloatVector offset = hn::Mul(hn::SumOfLanes(d, sum), hn::Set(d, 1.0f / static_cast<float>(voxels)));
    FloatVector squares = hn::Zero(d);
    for (int v = 0; v < vectors; ++v) {
      const FloatVector count = counts ? hn::Load(d, counts + v * lanes) : whole;
      const FloatVector deviation = hn::Sub(hn::Sub(hn::Load(d, means_ + v * lanes), pivot), offset);
      squares = hn::Add(squares, hn::Load(d, squares_ + v * lanes));
      squares = hn::MulAdd(count, hn::Mul(deviation, deviation), squares);
    }
    return {hn::GetLane(hn::Add(pivot, offset)), hn::GetLane(hn::SumOfLanes(d, squares))};
  }

 private:
  HWY_INLINE void store(FloatVector mean, FloatVector squares, int vector) {
    const Floats d;
    hn::Store(mean, d, means_ + vector * hn::Lanes(d));
    hn::Store(squares, d, squares_ + vector * hn::Lanes(d));
  }

  HWY_ALIGN float means_[winograd::kMaxVectors * HWY_MAX_BYTES / sizeof(float)];
  HWY_ALIGN float squares_[winograd::kMaxVectors * HWY_MAX_BYTES / sizeof(float)];
};

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

// Whether an output is best stored past the caches, and all that items write are whole cache lines.
bool streams(const Plan& plan, const Feature& output) {
  return sizeof(float) * plan.unit.lanes == kCacheLine && !plan.tiling.flat &&
         plan.tiling.depth_segment * element_bytes(output.element) % kCacheLine == 0 && stores_past_caches(output);
}

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
  const bool stream = item.whole && streams(plan, arguments.output);
  std::optional<FlatTileStore> flat_store;
  if (plan.tiling.flat) flat_store.emplace(item, arguments.output, scratch + plan.tile_offset);
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
