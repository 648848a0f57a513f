// Winograd F(4x4, 3x3) over kept kernels. See winograd_plan.h for the algorithm's terms and memory layout.
//
// An item runs three steps in its scratch memory, about the size of the second-level cache:
//  1. per input channel: load, activate and shift its pixels, transform them along H into the stage (first-level cache)
//     and from there along W into the slab;
//  2. per position: the sparse (or dense) product, whose results replace the consumed inputs of the position before;
//  3. per output: transform back, add the bias, gather statistics and pooled values, store.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/winograd.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "kernels/bf16.h"
#include "kernels/convolution.h"
#include "kernels/dispatch.h"
#include "kernels/elementwise.h"
#include "kernels/vector-inl.h"
#include "kernels/winograd_plan.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {
namespace winograd_kernels {

using winograd::dense_block_outputs;
using winograd::ItemRegion;
using winograd::kPatch;
using winograd::kPositions;
using winograd::kTile;
using winograd::Plan;

#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_NEON
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif

// --- Step 1: input transform ---

// One dimension of B^T d: from six values to the six that the products need.
HWY_INLINE void transform_input(const FloatVector d0, const FloatVector d1, const FloatVector d2, const FloatVector d3,
                                const FloatVector d4, const FloatVector d5, FloatVector (&t)[kPatch]) {
  const Floats d;
  const FloatVector four = hn::Set(d, 4.0f);
  const FloatVector two = hn::Set(d, 2.0f);
  const FloatVector even = hn::NegMulAdd(four, d2, d4);  // d4 - 4 d2
  const FloatVector odd = hn::NegMulAdd(four, d1, d3);   // d3 - 4 d1
  const FloatVector d42 = hn::Sub(d4, d2);
  const FloatVector d31 = hn::Sub(d3, d1);
  t[0] = hn::MulAdd(four, hn::Sub(d0, d2), d42);
  t[1] = hn::Add(even, odd);
  t[2] = hn::Sub(even, odd);
  t[3] = hn::MulAdd(two, d31, d42);
  t[4] = hn::NegMulAdd(two, d31, d42);
  t[5] = hn::NegMulAdd(four, d31, hn::Sub(d5, d3));
}

// The six input rows of a tile row, of one channel.
template <typename T>
struct InputRows {
  const T* row[kPatch];  // rows outside the patch point to some row inside
  bool inside[kPatch];
  std::ptrdiff_t next;  // from here to the next channel, to prefetch; imprecise where that is another source
  bool all_inside;
};

// Lanes [first, last) from memory, 0 elsewhere; nothing else is read.
template <typename T>
HWY_INLINE FloatVector load_lanes(Floats d, const T* from, int first, int last) {
  HWY_ALIGN T padded[HWY_MAX_BYTES / sizeof(float)] = {};
  for (int i = first; i < last; ++i) padded[i] = from[i];
  return load_elements(d, padded);
}

#if HWY_TARGET <= HWY_AVX2
HWY_INLINE FloatVector load_lanes(Floats d, const float* from, int first, int last) {
  return hn::MaskedLoad(hn::AndNot(hn::FirstN(d, first), hn::FirstN(d, last)), d, from);
}
#endif

// Into the second-level cache: the first is too small, and rows that lie a power of two apart share its sets.
HWY_INLINE void prefetch_far(const void* address) {
#if HWY_COMPILER_GCC || HWY_COMPILER_CLANG
  __builtin_prefetch(address, 0, 2);
#else
  hwy::Prefetch(static_cast<const char*>(address));
#endif
}

// A constant, so that the addresses of a column's six vectors need a single register.
HWY_INLINE std::size_t stage_row_stride() { return winograd::kStageRowVectors * hn::Lanes(Floats()); }

// Six vectors to one column of the stage.
HWY_INLINE void store_column(const FloatVector (&t)[kPatch], float* to) {
  const Floats d;
  E2ENET_UNROLL(6)
  for (int i = 0; i < kPatch; ++i) hn::StoreU(t[i], d, to + i * stage_row_stride());
}

// Transforms vector `part` of each pixel's depth segment along H.
// kWhole: all rows and all lanes are inside the patch.
template <typename T, bool kActivate, bool kWhole, bool kFlat>
HWY_INLINE void stage_part(const Plan& plan, const ItemRegion& region, int tile_row, int part, int shift,
                           const InputRows<T>& rows, const ActivationVectors& activation, int first_lane, int last_lane,
                           float* stage) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  const std::ptrdiff_t depth = plan.shape.input.depth;
  const int columns = kTile * plan.tiling.tiles + kPatch - kTile;
  const int first_column = region.first_tile == 0 ? 1 : 0;
  const int end_column = std::min(columns, plan.shape.input.width + 1 - kTile * region.first_tile);
  const std::uint32_t* first_place = plan.stage_column.data();
  const std::uint32_t* second_place = first_place + columns;
  float* const to = stage + std::size_t(tile_row) * plan.tiling.tiles * plan.tiling.depth_segment + part * lanes;

  FloatVector inside[kPatch];
  if constexpr (!kWhole) {
    const auto lanes_inside = hn::AndNot(hn::FirstN(d, first_lane), hn::FirstN(d, last_lane));
    const auto ones = hn::BitCast(d, hn::Set(hn::RebindToSigned<Floats>(), -1));
    const FloatVector mask = hn::IfThenElseZero(lanes_inside, ones);
    for (int i = 0; i < kPatch; ++i) inside[i] = rows.inside[i] ? mask : hn::Zero(d);
  }
  const bool all_lanes = first_lane == 0 && last_lane == lanes;

  // Copies, since the compiler must assume that storing vectors may change the originals.
  const ActivationVectors activate = activation;
  const std::ptrdiff_t begin =
      (kTile * region.first_tile - 1) * depth + region.first_depth + std::ptrdiff_t{part} * lanes - shift;
  const T* const row0 = rows.row[0] + begin;
  const T* const row1 = rows.row[1] + begin;
  const T* const row2 = rows.row[2] + begin;
  const T* const row3 = rows.row[3] + begin;
  const T* const row4 = rows.row[4] + begin;
  const T* const row5 = rows.row[5] + begin;
  // A shifted segment of whole cache lines reads one line more.
  const bool last_line = shift != 0 && (part + 1) * lanes == plan.tiling.depth_segment;

  const auto store = [&](const FloatVector(&t)[kPatch], int column) HWY_ATTR {
    if (!kFlat || first_place[column] != Plan::kNowhere) store_column(t, to + first_place[column]);
    if (kFlat && second_place[column] != Plan::kNowhere) store_column(t, to + second_place[column]);
  };
  FloatVector t[kPatch];
  for (int column = 0; column < first_column; ++column) {
    for (int i = 0; i < kPatch; ++i) t[i] = hn::Zero(d);
    store(t, column);
  }
  for (int column = first_column; column < end_column; ++column) {
    const std::ptrdiff_t at = column * depth;
    const T* const from[kPatch] = {row0 + at, row1 + at, row2 + at, row3 + at, row4 + at, row5 + at};
    E2ENET_UNROLL(6)
    for (int i = 0; i < kPatch; ++i) {
      prefetch_far(from[i] + rows.next);
      hwy::Prefetch(from[i] + 2 * depth);  // two pixels ahead, from the second-level cache
    }
    if (last_line) {
      E2ENET_UNROLL(6)
      for (int i = 0; i < kPatch; ++i) prefetch_far(from[i] + rows.next + lanes - 1);
    }
    FloatVector x[kPatch];
    E2ENET_UNROLL(6)
    for (int i = 0; i < kPatch; ++i) {
      if constexpr (kWhole) {
        x[i] = load_elements(d, from[i]);
        if constexpr (kActivate) x[i] = activate(x[i]);
      } else {
        x[i] = all_lanes ? load_elements(d, from[i]) : load_lanes(d, from[i], first_lane, last_lane);
        if constexpr (kActivate) x[i] = activate(x[i]);
        x[i] = hn::And(x[i], inside[i]);
      }
    }
    transform_input(x[0], x[1], x[2], x[3], x[4], x[5], t);
    store(t, column);
  }
  for (int column = end_column; column < columns; ++column) {
    for (int i = 0; i < kPatch; ++i) t[i] = hn::Zero(d);
    store(t, column);
  }
}

template <typename T, bool kActivate, bool kWhole>
void stage_part_of(const Plan& plan, const ItemRegion& region, int tile_row, int part, int shift,
                   const InputRows<T>& rows, const ActivationVectors& activation, int first_lane, int last_lane,
                   float* stage) {
  if (plan.tiling.flat) {
    stage_part<T, kActivate, kWhole, true>(plan, region, tile_row, part, shift, rows, activation, first_lane, last_lane,
                                           stage);
  } else {
    stage_part<T, kActivate, kWhole, false>(plan, region, tile_row, part, shift, rows, activation, first_lane,
                                            last_lane, stage);
  }
}

template <typename T, bool kActivate>
void stage_rows(const Plan& plan, const ItemRegion& region, int tile_row, int shift, const InputRows<T>& rows,
                const ActivationVectors& activate, float* stage) {
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  const int depth = plan.shape.input.depth;
  const int parts = (plan.tiling.depth_segment + lanes - 1) / lanes;
  // From the last part to the first: where a pixel's depth does not fill its vectors, the last one writes into the
  // first lanes of the next tile, which are written later.
  for (int part = parts - 1; part >= 0; --part) {
    const int first_depth = region.first_depth + part * lanes;
    const int first_lane = std::clamp(shift - first_depth, 0, lanes);
    const int last_lane = std::clamp(depth - first_depth + std::min(shift, 0), first_lane, lanes);
    if (rows.all_inside && first_lane == 0 && last_lane == lanes) {
      stage_part_of<T, kActivate, true>(plan, region, tile_row, part, shift, rows, activate, 0, lanes, stage);
    } else {
      stage_part_of<T, kActivate, false>(plan, region, tile_row, part, shift, rows, activate, first_lane, last_lane,
                                         stage);
    }
  }
}

// From the stage along W into the slab, at `slab` for position 0.
HWY_INLINE void transform_stage(const Plan& plan, const float* stage, float* slab) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  const std::size_t stride = plan.region_stride;
  for (int v = 0; v < plan.tiling.vectors; ++v) {
    for (int i = 0; i < kPatch; ++i) {
      const float* from = stage + i * stage_row_stride() + v * lanes;
      FloatVector t[kPatch];
      transform_input(hn::LoadU(d, from + plan.stage_phase[0]), hn::LoadU(d, from + plan.stage_phase[1]),
                      hn::LoadU(d, from + plan.stage_phase[2]), hn::LoadU(d, from + plan.stage_phase[3]),
                      hn::LoadU(d, from + plan.stage_phase[4]), hn::LoadU(d, from + plan.stage_phase[5]), t);
      float* to = slab + i * kPatch * stride + v * lanes;
      E2ENET_UNROLL(6)
      for (int j = 0; j < kPatch; ++j) hn::Store(t[j], d, to + j * stride);
    }
  }
}

// Element offsets, in a channel, of the rows that an item reads: kTile * tile_rows + 2 of them. A row outside the patch
// gets the offset of the nearest one inside.
void find_rows(const Plan& plan, const ItemRegion& region, const Feature& feature, std::ptrdiff_t* offset) {
  const int first = kTile * region.first_tile_row - 1;
  const int last = std::min(plan.shape.input.height, first + region.rows + 2) - 1;
  for (int i = 0; i < kTile * plan.tiling.tile_rows + kPatch - kTile; ++i) {
    offset[i] = feature.element_offset(0, std::clamp(first + i, std::max(first, 0), last));
  }
}

// `next` is where the next channel to be transformed begins, and `next_offset` its rows.
template <typename T>
void transform_channel(const Plan& plan, const ItemRegion& region, const Source& source, int channel,
                       const std::ptrdiff_t* offset, const T* next, const std::ptrdiff_t* next_offset, int shift,
                       float* stage, float* slab) {
  const T* data = static_cast<const T*>(source.feature.data) + channel * source.feature.channel_stride;
  const ActivationVectors activate = activation_of(Floats(), source.activation, channel);
  for (int tile_row = 0; tile_row < plan.tiling.tile_rows; ++tile_row) {
    const int first = kTile * (region.first_tile_row + tile_row) - 1;
    InputRows<T> rows;
    rows.all_inside = first >= 0 && first + kPatch <= plan.shape.input.height;
    for (int i = 0; i < kPatch; ++i) {
      rows.inside[i] = first + i >= 0 && first + i < plan.shape.input.height;
      rows.row[i] = data + offset[kTile * tile_row + i];
    }
    rows.next = next + next_offset[kTile * tile_row] - rows.row[0];
    if (source.activation.scale != nullptr) {
      stage_rows<T, true>(plan, region, tile_row, shift, rows, activate, stage);
    } else {
      stage_rows<T, false>(plan, region, tile_row, shift, rows, activate, stage);
    }
  }
  transform_stage(plan, stage, slab);
}

template <typename T>
void transform_source(const Plan& plan, const ItemRegion& region, const Source& source, int channels, int first_channel,
                      const std::ptrdiff_t* offset, const Source& next_source, const std::ptrdiff_t* next_offset,
                      float* stage, float* slab) {
  const std::size_t channel_floats = std::size_t(plan.tiling.vectors) * plan.unit.lanes;
  for (int c = 0; c < channels; ++c) {
    const bool last = c + 1 == channels;
    const T* next = last ? static_cast<const T*>(next_source.feature.data)
                         : static_cast<const T*>(source.feature.data) + (c + 1) * source.feature.channel_stride;
    transform_channel(plan, region, source, c, offset, next, last ? next_offset : offset, plan.shift[first_channel + c],
                      stage, slab + (first_channel + c) * channel_floats);
  }
}

void transform_inputs(const Plan& plan, const ItemRegion& region, const Source* sources, float* scratch) {
  float* stage = scratch + plan.stage_offset;
  float* slab = scratch + plan.region_stride;
  // Lanes that no pixel fills must hold numbers.
  if (plan.tiling.flat) std::memset(stage, 0, kPatch * stage_row_stride() * sizeof(float));

  auto* offset = reinterpret_cast<std::ptrdiff_t*>(scratch + plan.rows_offset);
  std::ptrdiff_t* next_offset = offset + kTile * plan.tiling.tile_rows + kPatch - kTile;
  const std::size_t count = plan.shape.source_channels.size();
  int channel = 0;
  find_rows(plan, region, sources[0].feature, offset);
  for (std::size_t s = 0; s < count; ++s) {
    const Source& next = sources[s + 1 < count ? s + 1 : s];
    find_rows(plan, region, next.feature, next_offset);
    const int channels = plan.shape.source_channels[s];
    if (sources[s].feature.element == Element::f32) {
      transform_source<float>(plan, region, sources[s], channels, channel, offset, next, next_offset, stage, slab);
    } else {
      transform_source<std::uint16_t>(plan, region, sources[s], channels, channel, offset, next, next_offset, stage,
                                      slab);
    }
    channel += channels;
    std::swap(offset, next_offset);
  }
}

// --- Step 2: products ---

// Four weights in each block of four lanes, and the choice of one of them for all lanes. A load broadcasts a single
// weight just as well, but loads are what the sparse product is short of; the shuffle is free.
#if HWY_TARGET == HWY_SCALAR
struct FourWeights {
  const float* weights;
};
HWY_INLINE FourWeights load_four(const float* weights) { return {weights}; }
template <int kWhich>
HWY_INLINE FloatVector one_weight(FourWeights four) {
  return hn::Set(Floats(), four.weights[kWhich]);
}
#else
using FourWeights = FloatVector;
HWY_INLINE FourWeights load_four(const float* weights) {
  const Floats d;
  return hn::LoadDup128(d, weights);
}
template <int kWhich>
HWY_INLINE FloatVector one_weight(FourWeights four) {
  return hn::Broadcast<kWhich>(four);
}
#endif

template <int kWhich, int kVectors>
HWY_INLINE void multiply_add(const float* HWY_RESTRICT from, FourWeights four, FloatVector (&sum)[kVectors]) {
  const Floats d;
  const FloatVector weight = one_weight<kWhich>(four);
  E2ENET_UNROLL(8)
  for (int v = 0; v < kVectors; ++v) {
    sum[v] = hn::MulAdd(hn::Load(d, from + v * static_cast<int>(hn::Lanes(d))), weight, sum[v]);
  }
}

// One position: products[o] = sum over kept (o, c) of weight * inputs[c].
template <int kVectors>
void sparse_product(const Plan& plan, const float* HWY_RESTRICT inputs, const float* HWY_RESTRICT weights,
                    float* HWY_RESTRICT products) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  const std::uint32_t* HWY_RESTRICT offset = plan.input_offset.data();
  const int rows = plan.outputs * plan.chunks;
  // Two sets of sums hide the latency of a multiply-add better, where registers allow.
  constexpr bool kTwoSets = 2 * kVectors + 4 <= kRegisters;
  for (int r = 0; r < rows; ++r) {
    float* HWY_RESTRICT to = products + std::size_t{plan.row_output[r]} * kVectors * lanes;
    FloatVector sum[kVectors];
    if (r < plan.outputs) {
      E2ENET_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) sum[v] = hn::Zero(d);
    } else {  // a further chunk of channels
      E2ENET_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) sum[v] = hn::Load(d, to + v * lanes);
    }
    FloatVector second[kVectors];
    if constexpr (kTwoSets) {
      E2ENET_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) second[v] = hn::Zero(d);
    }
    const std::uint32_t end = plan.row_begin[r + 1];
    std::uint32_t k = plan.row_begin[r];
    for (; k + 4 <= end; k += 4) {
      const FourWeights four = load_four(weights + k);
      multiply_add<0, kVectors>(inputs + offset[k], four, sum);
      multiply_add<1, kVectors>(inputs + offset[k + 1], four, kTwoSets ? second : sum);
      multiply_add<2, kVectors>(inputs + offset[k + 2], four, sum);
      multiply_add<3, kVectors>(inputs + offset[k + 3], four, kTwoSets ? second : sum);
    }
    for (; k < end; ++k) {
      const float* HWY_RESTRICT from = inputs + offset[k];
      const FloatVector weight = hn::Set(d, weights[k]);
      E2ENET_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) sum[v] = hn::MulAdd(hn::Load(d, from + v * lanes), weight, sum[v]);
    }
    if constexpr (kTwoSets) {
      E2ENET_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) sum[v] = hn::Add(sum[v], second[v]);
    }
    E2ENET_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) hn::Store(sum[v], d, to + v * lanes);
  }
}

// The same where all kernels are kept: a block of outputs shares the loads of the inputs.
template <int kVectors>
void dense_product(const Plan& plan, const float* HWY_RESTRICT inputs, const float* HWY_RESTRICT weights,
                   float* HWY_RESTRICT products) {
  constexpr int kOutputs = dense_block_outputs(kRegisters, kVectors);
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  for (int first = 0; first < plan.outputs; first += kOutputs) {
    FloatVector sum[kOutputs][kVectors];
    E2ENET_UNROLL(12)
    for (int o = 0; o < kOutputs; ++o) {
      E2ENET_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) sum[o][v] = hn::Zero(d);
    }
    const float* HWY_RESTRICT from = inputs;
    for (int c = 0; c < plan.channels; ++c) {
      FloatVector x[kVectors];
      E2ENET_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) x[v] = hn::Load(d, from + v * lanes);
      E2ENET_UNROLL(12)
      for (int o = 0; o < kOutputs; ++o) {
        const FloatVector weight = hn::Set(d, weights[o]);
        E2ENET_UNROLL(8)
        for (int v = 0; v < kVectors; ++v) sum[o][v] = hn::MulAdd(x[v], weight, sum[o][v]);
      }
      from += kVectors * lanes;
      weights += kOutputs;
    }
    float* to = products + std::size_t(first) * kVectors * lanes;
    const int valid = std::min(kOutputs, plan.outputs - first);
    E2ENET_UNROLL(12)
    for (int o = 0; o < kOutputs; ++o) {
      if (o < valid) {
        E2ENET_UNROLL(8)
        for (int v = 0; v < kVectors; ++v) hn::Store(sum[o][v], d, to + (o * kVectors + v) * lanes);
      }
    }
  }
}

template <int kVectors>
void multiply_positions(const Plan& plan, float* slab) {
  for (int p = 0; p < kPositions; ++p) {
    const float* inputs = slab + (p + 1) * plan.region_stride;
    float* products = slab + p * plan.region_stride;
    if (plan.dense) {
      dense_product<kVectors>(plan, inputs, plan.weights_of(p), products);
    } else {
      sparse_product<kVectors>(plan, inputs, plan.weights_of(p), products);
    }
  }
}

void multiply(const Plan& plan, float* slab) {
  switch (plan.tiling.vectors) {
    case 1:
      return multiply_positions<1>(plan, slab);
    case 2:
      return multiply_positions<2>(plan, slab);
    case 3:
      return multiply_positions<3>(plan, slab);
    case 4:
      return multiply_positions<4>(plan, slab);
    case 5:
      return multiply_positions<5>(plan, slab);
    case 6:
      return multiply_positions<6>(plan, slab);
    case 7:
      return multiply_positions<7>(plan, slab);
    default:
      return multiply_positions<8>(plan, slab);
  }
}

// --- Step 3: output transform ---

using TileVectors = FloatVector[kTile * kTile];

// One dimension of A^T m, with m[3] and m[4] as their sum and difference.
HWY_INLINE void transform_output(const FloatVector m0, const FloatVector m1, const FloatVector m2, const FloatVector m3,
                                 const FloatVector m4, const FloatVector m5, FloatVector& y0, FloatVector& y1,
                                 FloatVector& y2, FloatVector& y3) {
  const Floats d;
  const FloatVector sum12 = hn::Add(m1, m2);
  const FloatVector difference12 = hn::Sub(m1, m2);
  const FloatVector sum34 = hn::Add(m3, m4);
  const FloatVector difference34 = hn::Sub(m3, m4);
  y0 = hn::Add(hn::Add(m0, sum12), sum34);
  y1 = hn::MulAdd(hn::Set(d, 2.0f), difference34, difference12);
  y2 = hn::MulAdd(hn::Set(d, 4.0f), sum34, sum12);
  y3 = hn::MulAdd(hn::Set(d, 8.0f), difference34, hn::Add(difference12, m5));
}

// Products of one row of positions, transformed along W.
HWY_INLINE void transform_products_row(const float* products, std::size_t stride, FloatVector bias,
                                       FloatVector (&y)[kTile]) {
  const Floats d;
  transform_output(hn::Load(d, products), hn::Add(hn::Load(d, products + stride), bias),
                   hn::Load(d, products + 2 * stride), hn::Load(d, products + 3 * stride),
                   hn::Load(d, products + 4 * stride), hn::Load(d, products + 5 * stride), y[0], y[1], y[2], y[3]);
}

// The bias goes to position (1, 1), whose column of A^T (x) A^T is all ones.
HWY_INLINE void transform_products(const float* products, std::size_t stride, FloatVector bias, TileVectors& y) {
  const Floats d;
  const FloatVector zero = hn::Zero(d);
  FloatVector row1[kTile], row2[kTile], row[kTile];
  transform_products_row(products + kPatch * stride, stride, bias, row1);
  transform_products_row(products + 2 * kPatch * stride, stride, zero, row2);
  transform_products_row(products, stride, zero, row);
  E2ENET_UNROLL(4)
  for (int q = 0; q < kTile; ++q) {
    const FloatVector sum = hn::Add(row1[q], row2[q]);
    const FloatVector difference = hn::Sub(row1[q], row2[q]);
    y[q] = hn::Add(row[q], sum);
    y[kTile + q] = difference;
    y[2 * kTile + q] = sum;
    y[3 * kTile + q] = difference;
  }
  transform_products_row(products + 3 * kPatch * stride, stride, zero, row1);
  transform_products_row(products + 4 * kPatch * stride, stride, zero, row2);
  transform_products_row(products + 5 * kPatch * stride, stride, zero, row);
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

// Cuts a flat item's finished tiles, [pixel of the tile][lane], into output rows.
template <typename T>
void store_flat_tiles(const OutputItem& item, const Feature& output, int channel, const float* tiles) {
  const winograd::Tiling& tiling = item.plan->tiling;
  const int depth = tiling.depth_segment;
  const std::ptrdiff_t first = std::ptrdiff_t{kTile} * item.region.first_tile * depth;
  for (int r = 0; r < item.region.rows; ++r) {
    const int row = kTile * item.region.first_tile_row + r;
    T* to = static_cast<T*>(output.row(channel, row)) + first;
    const float* from = tiles + (r % kTile) * kTile * item.item_lanes + std::size_t(r / kTile) * tiling.tiles * depth;
    for (int pixel = 0; pixel < item.region.pixels; ++pixel) {
      store_depths(from + (pixel % kTile) * item.item_lanes + std::size_t(pixel / kTile) * depth, to + pixel * depth,
                   depth);
    }
  }
}

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
  const int depth = plan.shape.input.depth;
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

// Whether an output is so large that no reader will find it in a cache, and all that items write are whole cache lines.
bool streams(const Plan& plan, const Feature& output) {
  constexpr std::size_t kLarge = 16 << 20;
  constexpr std::size_t kLine = 64;
  const std::size_t bytes = element_bytes(output.element);
  return sizeof(float) * plan.unit.lanes == kLine && !plan.tiling.flat &&
         plan.tiling.depth_segment * bytes % kLine == 0 && plan.shape.input.depth * bytes % kLine == 0 &&
         output.channel_stride * bytes % kLine == 0 && reinterpret_cast<std::uintptr_t>(output.data) % kLine == 0 &&
         output.channels * output.channel_stride * bytes >= kLarge;
}

template <typename T, bool kStatistics>
void finish_outputs(const OutputItem& item, const ConvolutionArguments& arguments, std::int64_t slot, float* scratch) {
  const Floats d;
  const Plan& plan = *item.plan;
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  const int vectors = plan.tiling.vectors;
  PlanePooling pooling;
  if (arguments.pooled.feature.data != nullptr) {
    const Extent& to = arguments.pooled.feature.extent;
    pooling = {plan.shape.input.height / to.height, plan.shape.input.width / to.width,
               plan.shape.input.depth / to.depth};
  }
  const bool stream = item.whole && streams(plan, arguments.output);
  for (int o = 0; o < plan.outputs; ++o) {
    const FloatVector bias = hn::Set(d, arguments.bias ? arguments.bias[o] : 0.0f);
    const bool minimum = pooling.height != 0 && arguments.pooled.take_minimum && arguments.pooled.take_minimum[o];
    T* rows[kTile] = {};
    if (!plan.tiling.flat) {
      for (int r = 0; r < std::min(kTile, item.region.rows); ++r) {
        rows[r] = static_cast<T*>(arguments.output.row(o, kTile * item.region.first_tile_row + r));
      }
    }
    ItemStatistics statistics;
    for (int v = 0; v < vectors; ++v) {
      TileVectors y;
      transform_products(scratch + (std::size_t(o) * vectors + v) * lanes, plan.region_stride, bias, y);
      if (plan.tiling.flat) {
        float* tiles = scratch + plan.tile_offset + v * lanes;
        E2ENET_UNROLL(16)
        for (int i = 0; i < kTile * kTile; ++i) hn::Store(y[i], d, tiles + i * item.item_lanes);
      } else {
        if (stream) {
          store_tile_vector<T, true>(item, rows, v, y, scratch + plan.tile_offset);
        } else {
          store_tile_vector<T, false>(item, rows, v, y, nullptr);
        }
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
    if (plan.tiling.flat) store_flat_tiles<T>(item, arguments.output, o, scratch + plan.tile_offset);
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

}  // namespace winograd_kernels

winograd::VectorUnit winograd_vector_unit() {
  return {static_cast<int>(hn::Lanes(Floats())), winograd_kernels::kRegisters};
}

const char* winograd_target() { return hwy::TargetName(HWY_TARGET); }

void run_winograd_item(const winograd::Plan& plan, const ConvolutionArguments& arguments, int band, int item_index,
                       float* scratch) {
  using namespace winograd_kernels;
  OutputItem item;
  item.plan = &plan;
  item.region = winograd::item_region(plan, band, item_index);

  transform_inputs(plan, item.region, arguments.sources, scratch);
  multiply(plan, scratch);
  find_valid_lanes(item, scratch);
  const std::int64_t slot = std::int64_t{band} * plan.items_per_band() + item_index;
  if (arguments.output.element == Element::f32) {
    if (arguments.statistics) {
      finish_outputs<float, true>(item, arguments, slot, scratch);
    } else {
      finish_outputs<float, false>(item, arguments, slot, scratch);
    }
  } else {
    if (arguments.statistics) {
      finish_outputs<std::uint16_t, true>(item, arguments, slot, scratch);
    } else {
      finish_outputs<std::uint16_t, false>(item, arguments, slot, scratch);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace e2enet::kernels {
namespace {

HWY_EXPORT(winograd_vector_unit);
HWY_EXPORT(winograd_target);
HWY_EXPORT(run_winograd_item);

class SparseWinograd final : public Convolution {
 public:
  SparseWinograd(const ConvolutionShape& shape, const SparseKernels& kernels, Element element)
      : plan_(shape, kernels, HWY_DYNAMIC_DISPATCH(winograd_vector_unit)()),
        run_(&HWY_DYNAMIC_DISPATCH(run_winograd_item)),
        name_(std::string(plan_.dense ? "dense" : "sparse") + "_winograd4x4_" +
              (element == Element::f32 ? "f32" : "bf16") + "_" + HWY_DYNAMIC_DISPATCH(winograd_target)()) {}

  std::string name() const override { return name_; }
  int bands() const override { return plan_.bands; }
  int rows_per_band() const override { return winograd::kTile * plan_.tiling.tile_rows; }
  int items_per_band() const override { return plan_.items_per_band(); }
  std::int64_t item_voxels(int band, int item) const override { return item_region(plan_, band, item).voxels(); }

  // A pooled voxel must come from one item, and its pixels from one tile.
  bool can_pool(Stride stride) const override {
    const auto divides_tile = [](int factor) { return factor == 1 || factor == 2 || factor == 4; };
    return divides_tile(stride.height) && divides_tile(stride.width) && stride.depth >= 1 &&
           (plan_.depth_segments == 1 || plan_.tiling.depth_segment % stride.depth == 0);
  }

  std::size_t packed_bytes() const override { return plan_.packed_bytes(); }
  std::size_t scratch_bytes() const override { return plan_.scratch_floats * sizeof(float); }

  void run(const ConvolutionArguments& arguments, int band, int item, void* scratch) const override {
    run_(plan_, arguments, band, item, static_cast<float*>(scratch));
  }

 private:
  winograd::Plan plan_;
  void (*run_)(const winograd::Plan&, const ConvolutionArguments&, int, int, float*);
  std::string name_;
};

}  // namespace

std::unique_ptr<Convolution> make_sparse_winograd(const ConvolutionShape& shape, const SparseKernels& kernels,
                                                  Element element) {
  prepare_dispatch();
  return std::make_unique<SparseWinograd>(shape, kernels, element);
}

}  // namespace e2enet::kernels
#endif  // HWY_ONCE
