// The direct sum over kept kernels, for any stride and density: see plan.h for how work and memory are laid out.
//
// Sparse layers run output by output over their kept kernels. Layers that keep every kernel run in register blocks of 6
// outputs x 4 vectors, where 24 multiply-adds share 4 loads and 6 broadcasts: they reach the processor's peak.
#include <algorithm>
#include <cstdint>
#include <string>

#include "base/simd/dispatch.h"
#include "kernels/convolution.h"
#include "kernels/direct/direct.h"
#include "kernels/direct/plan.h"
#include "kernels/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/direct/kernel.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once for each target.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "base/simd/dispatch_table.h"
#include "kernels/direct/staging-inl.h"
#include "kernels/isa-inl.h"
#include "kernels/pooling-inl.h"
#include "kernels/statistics-inl.h"
#include "kernels/vector-inl.h"
#include "kernels/weight_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {

constexpr int kBlockVectors = kRegisters >= 32 ? 4 : 2;
constexpr int kRowVectors = 8;  // of a sparse output: enough accumulators for 2 FMA units x 4 cycles

int VectorLanes() { return static_cast<int>(hn::Lanes(Floats())); }

int BlockVectors() { return kBlockVectors; }

// kOutputs dense outputs from `first`, for kVectors vectors whose first taps are staged at stage + vectors[v]. Results
// go to tile + o * tile_floats.
template <int kOutputs, int kVectors>
HWY_NOINLINE void dense_block(const direct::Plan& plan, const float* bias, const float* packed, int first,
                              const std::ptrdiff_t* vectors, const float* stage, float* tile) {
  const Floats d;
  const float* x[kVectors];
  E2ENET_UNROLL(8)
  for (int v = 0; v < kVectors; ++v) x[v] = stage + vectors[v];
  FloatVector sums[kOutputs][kVectors];
  E2ENET_UNROLL(8)
  for (int o = 0; o < kOutputs; ++o) {
    const FloatVector start = hn::Set(d, bias != nullptr ? bias[first + o] : 0.0f);
    E2ENET_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) sums[o][v] = start;
  }
  std::ptrdiff_t channel = 0;
  for (int c = 0; c < plan.kernels.inputs; ++c, channel += plan.channel_pitch) {
    for (int t = 0; t < 9; ++t, packed += kOutputs) {
      const std::ptrdiff_t at = channel + plan.tap_offset[t];
      FloatVector inputs[kVectors];
      E2ENET_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) inputs[v] = hn::LoadU(d, x[v] + at);
      E2ENET_UNROLL(8)
      for (int o = 0; o < kOutputs; ++o) {
        const FloatVector weight = hn::Set(d, packed[o]);
        E2ENET_UNROLL(8)
        for (int v = 0; v < kVectors; ++v) sums[o][v] = hn::MulAdd(inputs[v], weight, sums[o][v]);
      }
    }
  }
  const std::ptrdiff_t lanes = static_cast<std::ptrdiff_t>(hn::Lanes(d));
  E2ENET_UNROLL(8)
  for (int o = 0; o < kOutputs; ++o, tile += plan.tile_floats()) {
    E2ENET_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) hn::Store(sums[o][v], d, tile + v * lanes);
  }
}

template <int kOutputs>
HWY_INLINE void dense_outputs(const direct::Plan& plan, const float* packed, const float* bias, int first,
                              const std::ptrdiff_t* vectors, int count, const float* stage, float* tile) {
  while (count >= kBlockVectors) {
    dense_block<kOutputs, kBlockVectors>(plan, bias, packed, first, vectors, stage, tile);
    vectors += kBlockVectors;
    count -= kBlockVectors;
    tile += kBlockVectors * plan.lanes;
  }
  with_constant<kBlockVectors - 1>(
      count, [&](auto rest) HWY_ATTR { dense_block<kOutputs, rest>(plan, bias, packed, first, vectors, stage, tile); });
}

// One sparse output, for kVectors vectors: each kept kernel is 9 weights, broadcast, times kVectors loads.
template <int kVectors>
HWY_NOINLINE void sparse_block(const direct::Plan& plan, const SparseRow& row, const float* bias, int o,
                               const std::ptrdiff_t* vectors, const float* stage, float* tile) {
  const Floats d;
  const float* x[kVectors];
  E2ENET_UNROLL(8)
  for (int v = 0; v < kVectors; ++v) x[v] = stage + vectors[v];
  FloatVector sums[kVectors];
  E2ENET_UNROLL(8)
  for (int v = 0; v < kVectors; ++v) sums[v] = hn::Set(d, bias != nullptr ? bias[o] : 0.0f);
  const std::int32_t count = row.count;
  for (std::int32_t k = 0; k < count; ++k) {
    const std::ptrdiff_t channel = row.input[k] * plan.channel_pitch;
    const float* weights = row.weights + std::ptrdiff_t{k} * 9;
    for (int t = 0; t < 9; ++t) {
      const std::ptrdiff_t at = channel + plan.tap_offset[t];
      const FloatVector weight = hn::Set(d, weights[t]);
      E2ENET_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) sums[v] = hn::MulAdd(hn::LoadU(d, x[v] + at), weight, sums[v]);
    }
  }
  const std::ptrdiff_t lanes = static_cast<std::ptrdiff_t>(hn::Lanes(d));
  E2ENET_UNROLL(8)
  for (int v = 0; v < kVectors; ++v) hn::Store(sums[v], d, tile + v * lanes);
}

HWY_INLINE void sparse_output(const direct::Plan& plan, const SparseRow& row, const float* bias, int o,
                              const std::ptrdiff_t* vectors, int count, const float* stage, float* tile) {
  while (count >= kRowVectors) {
    sparse_block<kRowVectors>(plan, row, bias, o, vectors, stage, tile);
    vectors += kRowVectors;
    count -= kRowVectors;
    tile += kRowVectors * plan.lanes;
  }
  with_constant<kRowVectors - 1>(
      count, [&](auto rest) HWY_ATTR { sparse_block<rest>(plan, row, bias, o, vectors, stage, tile); });
}

// The part of the output that an item covers.
struct ItemExtent {
  int first_row;
  int rows;
  int first_pixel;
  int pixels;
  std::ptrdiff_t pitch;  // of a row in the tile
};

// From the tile of output channel o to the output: values, statistics and pooled values.
template <typename T>
HWY_INLINE void finish_output(const direct::Plan& plan, const ConvolutionArguments& arguments, int o,
                              const ItemExtent& item, const float* tile, PartialStatistics* statistics) {
  const Floats d;
  const std::ptrdiff_t first = std::ptrdiff_t{item.first_pixel} * plan.output.depth;
  const std::ptrdiff_t count = std::ptrdiff_t{item.pixels} * plan.output.depth;
  const auto to_row = [&](int r) { return static_cast<T*>(arguments.output.row(o, item.first_row + r)) + first; };
  // A store past the caches needs whole aligned vectors; rows keep the alignment of the first where depths do.
  const std::size_t vector_bytes = hn::Lanes(d) * sizeof(float);
  const bool stream = plan.stream_output && plan.output.depth % plan.lanes == 0 &&
                      reinterpret_cast<std::uintptr_t>(to_row(0)) % vector_bytes == 0;
  const PartialStatistics found = stream ? copy_with_statistics<true, T>(tile, item.pitch, item.rows, count, to_row)
                                         : copy_with_statistics<false, T>(tile, item.pitch, item.rows, count, to_row);
  if (statistics != nullptr) statistics[o] = found;

  const Feature& pooled = arguments.pooled.feature;
  if (pooled.data == nullptr) return;
  const Stride stride = pooling_stride(plan.output, pooled.extent);
  // The smallest value is the largest of the negated ones.
  const bool minimum = arguments.pooled.take_minimum != nullptr && arguments.pooled.take_minimum[o] != 0;
  const float sign = minimum ? -1.0f : 1.0f;
  const ActivationVectors take{hn::Set(d, sign), hn::Zero(d), hn::Set(d, 1.0f)};
  const int first_pooled = item.first_pixel / stride.width;
  const int pooled_pixels =
      std::min((item.first_pixel + item.pixels) / stride.width, pooled.extent.width) - first_pooled;
  const int last_row = std::min((item.first_row + item.rows) / stride.height, pooled.extent.height);
  for (int row = item.first_row / stride.height; row < last_row; ++row) {
    const auto from_row = [&](int a) { return tile + (row * stride.height - item.first_row + a) * item.pitch; };
    T* to = static_cast<T*>(pooled.row(o, row)) + std::ptrdiff_t{first_pooled} * pooled.extent.depth;
    pool_pixels<float>(from_row, plan.output.depth, stride, take, sign, pooled_pixels, pooled.extent.depth, to);
  }
}

void RunDirectItem(const direct::Plan& plan, const direct::PackedKernels& kernels,
                   const ConvolutionArguments& arguments, int band, int item_index, void* scratch) {
  const int segment = item_index % plan.segments;
  const int group = item_index / plan.segments;
  ItemExtent item;
  item.first_row = band * plan.rows;
  item.rows = std::min(plan.rows, plan.output.height - item.first_row);
  item.first_pixel = segment * plan.pixels;
  item.pixels = std::min(plan.pixels, plan.output.width - item.first_pixel);
  const std::ptrdiff_t row_lanes = std::ptrdiff_t{item.pixels} * plan.output.depth;
  item.pitch = (row_lanes + plan.lanes - 1) / plan.lanes * plan.lanes;

  float* stage = static_cast<float*>(scratch);
  stage_item(plan, arguments.sources, band, item.rows, item.first_pixel, item.pixels, stage);

  float* const widened_weights = stage + plan.stage_floats();
  float* tile = widened_weights + plan.weights_floats();
  std::ptrdiff_t* vectors = reinterpret_cast<std::ptrdiff_t*>(tile + direct::Plan::kBlockOutputs * plan.tile_floats());
  int count = 0;
  for (int r = 0; r < item.rows; ++r) {
    for (std::ptrdiff_t lane = 0; lane < row_lanes; lane += plan.lanes) {
      vectors[count++] = r * plan.slots_per_row * plan.slot_pitch + lane;
    }
  }

  // All groups of a segment share its slot: each fills its own outputs.
  PartialStatistics* statistics = nullptr;
  if (arguments.statistics != nullptr) {
    statistics = arguments.statistics + (std::ptrdiff_t{band} * plan.segments + segment) * plan.kernels.outputs;
  }
  const auto finish = [&](int o, const float* from) HWY_ATTR {
    if (arguments.output.element == Element::f32) {
      finish_output<float>(plan, arguments, o, item, from, statistics);
    } else {
      finish_output<std::uint16_t>(plan, arguments, o, item, from, statistics);
    }
  };
  const int end = plan.group_begin(group + 1);
  for (int unit = plan.group_begin(group); unit < end; ++unit) {
    if (!plan.dense) {
      const SparseRow row = sparse_row(*kernels.sparse, unit, widened_weights);
      sparse_output(plan, row, arguments.bias, unit, vectors, count, stage, tile);
      finish(unit, tile);
      continue;
    }
    const int first = plan.block_begin[static_cast<std::size_t>(unit)];
    const int last = plan.block_begin[static_cast<std::size_t>(unit) + 1];
    // Blocks are packed one after the other.
    const std::ptrdiff_t output_weights = std::ptrdiff_t{plan.kernels.inputs} * 9;
    const float* const packed = row_weights(*kernels.dense, first, last - first, first * output_weights,
                                            last * output_weights, widened_weights);
    with_constant<direct::Plan::kBlockOutputs>(last - first, [&](auto outputs) HWY_ATTR {
      dense_outputs<outputs>(plan, packed, arguments.bias, first, vectors, count, stage, tile);
    });
    for (int o = first; o < last; ++o) finish(o, tile + (o - first) * plan.tile_floats());
  }
  if (plan.stream_output) hwy::FlushStream();  // other threads see the item's output as after any store
}

}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace e2enet::kernels {
namespace {

HWY_EXPORT(VectorLanes);
HWY_EXPORT(BlockVectors);
HWY_EXPORT(RunDirectItem);

using RunItem = void (*)(const direct::Plan&, const direct::PackedKernels&, const ConvolutionArguments&, int, int,
                         void*);

class Direct final : public Convolution {
 public:
  Direct(const direct::Plan& plan, RunItem run_item, const SparseKernels& kernels)
      : plan_(plan), run_(run_item), kernels_(direct::pack(plan, kernels)) {}

  std::size_t packed_bytes() const override { return kernels_.bytes(); }
  void run(const ConvolutionArguments& arguments, int band, int item, void* scratch) const override {
    run_(plan_, kernels_, arguments, band, item, scratch);
  }

 private:
  const direct::Plan& plan_;
  RunItem run_;
  direct::PackedKernels kernels_;
};

class DirectPlan final : public ConvolutionPlan {
 public:
  explicit DirectPlan(const ConvolutionProblem& problem)
      : run_(E2ENET_DISPATCH(RunDirectItem)),
        plan_(direct::make_plan(problem.shape, problem.kernels, problem.element, E2ENET_DISPATCH(VectorLanes)(),
                                E2ENET_DISPATCH(BlockVectors)())),
        name_(std::string(plan_.dense ? "dense_direct_" : "sparse_direct_") +
              (problem.element == Element::f32 ? "f32_" : "bf16_") + simd::instruction_set()) {}

  std::string name() const override { return name_; }
  int bands() const override { return plan_.bands(); }
  int rows_per_band() const override { return plan_.rows; }
  int items_per_band() const override { return plan_.segments * plan_.output_groups; }
  PixelRange pixels(int item) const override {
    const int begin = item % plan_.segments * plan_.pixels;
    return {begin, std::min(begin + plan_.pixels, plan_.output.width)};
  }

  int slots_per_band() const override { return plan_.segments; }
  std::int64_t slot_voxels(int band, int segment) const override {
    const std::int64_t rows = std::min(plan_.rows, plan_.output.height - band * plan_.rows);
    const std::int64_t pixels = std::min(plan_.pixels, plan_.output.width - segment * plan_.pixels);
    return rows * pixels * plan_.output.depth;
  }

  bool can_pool(Stride stride) const override {
    return (plan_.bands() == 1 || plan_.rows % stride.height == 0) &&
           (plan_.segments == 1 || plan_.pixels % stride.width == 0);
  }

  std::size_t packed_bytes() const override { return direct::packed_bytes(plan_); }
  std::size_t scratch_bytes() const override {
    const std::size_t tiles = static_cast<std::size_t>(direct::Plan::kBlockOutputs * plan_.tile_floats());
    const std::size_t vectors = static_cast<std::size_t>(plan_.rows) * static_cast<std::size_t>(plan_.row_vectors);
    return (plan_.stage_floats() + plan_.weights_floats() + tiles) * sizeof(float) + vectors * sizeof(std::ptrdiff_t);
  }

  std::unique_ptr<Convolution> pack(const SparseKernels& kernels) const override {
    return std::make_unique<Direct>(plan_, run_, kernels);
  }

 private:
  RunItem run_;
  direct::Plan plan_;
  std::string name_;
};

}  // namespace

namespace direct {

std::unique_ptr<ConvolutionPlan> make(const ConvolutionProblem& problem) {
  simd::prepare_dispatch();
  return std::make_unique<DirectPlan>(problem);
}

}  // namespace direct
}  // namespace e2enet::kernels
#endif  // HWY_ONCE
