// The direct sum over kept kernels, for any stride and density: see direct_plan.h for how work and memory are laid out.
//
// Sparse layers run output by output over their kept kernels. Layers that keep every kernel run in register blocks of 6
// outputs x 4 vectors, where 24 multiply-adds share 4 loads and 6 broadcasts: they reach the processor's peak.
#include <algorithm>
#include <cstdint>
#include <string>

#include "kernels/convolution.h"
#include "kernels/direct_plan.h"
#include "kernels/dispatch.h"
#include "kernels/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/sparse_direct.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once for each target.
#include <hwy/highway.h>

#include "kernels/direct_staging-inl.h"
#include "kernels/pooling-inl.h"
#include "kernels/statistics-inl.h"
#include "kernels/vector-inl.h"

#ifndef E2ENET_KERNELS_SPARSE_DIRECT_ONCE
#define E2ENET_KERNELS_SPARSE_DIRECT_ONCE
namespace e2enet::kernels {

// Outputs of a register block: with 4 vectors (2 where there are 16 registers) it leaves room for inputs and a weight.
constexpr int kDirectBlockOutputs = 6;

// Where one vector of an item is read and written.
struct DirectVector {
  std::ptrdiff_t staged;  // from the stage's begin, of tap 0 and channel 0
  std::ptrdiff_t output;  // from the output channel's begin
  std::ptrdiff_t count;   // lanes that are output voxels
};

}  // namespace e2enet::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_ARCH_ARM
constexpr int kBlockVectors = 4;  // 32 registers
#else
constexpr int kBlockVectors = 2;  // 16 registers
#endif
constexpr int kRowVectors = 8;  // of a sparse output: enough accumulators for 2 FMA units x 4 cycles

int VectorLanes() { return static_cast<int>(hn::Lanes(Floats())); }

HWY_INLINE void store_output(FloatVector value, const Feature& output, int o, const DirectVector& vector) {
  const Floats d;
  const std::ptrdiff_t lanes = static_cast<std::ptrdiff_t>(hn::Lanes(d));
  const std::ptrdiff_t at = o * output.channel_stride + vector.output;
  const auto store = [&](auto* to) HWY_ATTR {
    if (HWY_LIKELY(vector.count == lanes)) {
      store_elements(d, value, to);
    } else {
      store_some(d, value, to, static_cast<std::size_t>(vector.count));
    }
  };
  if (output.element == Element::f32) {
    store(static_cast<float*>(output.data) + at);
  } else {
    store(static_cast<std::uint16_t*>(output.data) + at);
  }
}

// kOutputs dense outputs from `first`, for kVectors vectors.
template <int kOutputs, int kVectors>
HWY_NOINLINE void dense_block(const DirectPlan& plan, const ConvolutionArguments& arguments, const float* packed,
                              int first, const DirectVector* vectors, const float* stage) {
  const Floats d;
  const float* x[kVectors];
  for (int v = 0; v < kVectors; ++v) x[v] = stage + vectors[v].staged;
  FloatVector sums[kOutputs][kVectors];
  for (int o = 0; o < kOutputs; ++o) {
    const FloatVector bias = hn::Set(d, arguments.bias != nullptr ? arguments.bias[first + o] : 0.0f);
    for (int v = 0; v < kVectors; ++v) sums[o][v] = bias;
  }
  std::ptrdiff_t channel = 0;
  for (int c = 0; c < plan.kernels.inputs; ++c, channel += plan.channel_pitch) {
    for (int t = 0; t < 9; ++t, packed += kOutputs) {
      const std::ptrdiff_t at = channel + plan.tap_offset[t];
      FloatVector inputs[kVectors];
      for (int v = 0; v < kVectors; ++v) inputs[v] = hn::LoadU(d, x[v] + at);
      for (int o = 0; o < kOutputs; ++o) {
        const FloatVector weight = hn::Set(d, packed[o]);
        for (int v = 0; v < kVectors; ++v) sums[o][v] = hn::MulAdd(inputs[v], weight, sums[o][v]);
      }
    }
  }
  for (int o = 0; o < kOutputs; ++o) {
    for (int v = 0; v < kVectors; ++v) store_output(sums[o][v], arguments.output, first + o, vectors[v]);
  }
}

template <int kOutputs>
HWY_INLINE void dense_outputs(const DirectPlan& plan, const ConvolutionArguments& arguments, int first,
                              const DirectVector* vectors, int count, const float* stage) {
  // Blocks are packed one after the other, so all outputs before this one's first have had their weights.
  const float* packed = plan.packed.data() + std::ptrdiff_t{first} * plan.kernels.inputs * 9;
  int v = 0;
  for (; v + kBlockVectors <= count; v += kBlockVectors) {
    dense_block<kOutputs, kBlockVectors>(plan, arguments, packed, first, vectors + v, stage);
  }
  switch (count - v) {
    case 3:
      return dense_block<kOutputs, 3>(plan, arguments, packed, first, vectors + v, stage);
    case 2:
      return dense_block<kOutputs, 2>(plan, arguments, packed, first, vectors + v, stage);
    case 1:
      return dense_block<kOutputs, 1>(plan, arguments, packed, first, vectors + v, stage);
    default:
      return;
  }
}

// One sparse output, for kVectors vectors: each kept kernel is 9 weights, broadcast, times kVectors loads.
template <int kVectors>
HWY_NOINLINE void sparse_block(const DirectPlan& plan, const ConvolutionArguments& arguments, int o,
                               const DirectVector* vectors, const float* stage) {
  const Floats d;
  const SparseKernels& kernels = plan.kernels;
  const float* x[kVectors];
  for (int v = 0; v < kVectors; ++v) x[v] = stage + vectors[v].staged;
  FloatVector sums[kVectors];
  for (int v = 0; v < kVectors; ++v) sums[v] = hn::Set(d, arguments.bias != nullptr ? arguments.bias[o] : 0.0f);
  const std::int32_t end = kernels.row_begin[o + 1];
  for (std::int32_t k = kernels.row_begin[o]; k < end; ++k) {
    const std::ptrdiff_t channel = kernels.input[k] * plan.channel_pitch;
    const float* weights = kernels.values + std::ptrdiff_t{k} * 9;
    for (int t = 0; t < 9; ++t) {
      const std::ptrdiff_t at = channel + plan.tap_offset[t];
      const FloatVector weight = hn::Set(d, weights[t]);
      for (int v = 0; v < kVectors; ++v) sums[v] = hn::MulAdd(hn::LoadU(d, x[v] + at), weight, sums[v]);
    }
  }
  for (int v = 0; v < kVectors; ++v) store_output(sums[v], arguments.output, o, vectors[v]);
}

HWY_INLINE void sparse_output(const DirectPlan& plan, const ConvolutionArguments& arguments, int o,
                              const DirectVector* vectors, int count, const float* stage) {
  int v = 0;
  for (; v + kRowVectors <= count; v += kRowVectors) sparse_block<kRowVectors>(plan, arguments, o, vectors + v, stage);
  switch (count - v) {
    case 7:
      return sparse_block<7>(plan, arguments, o, vectors + v, stage);
    case 6:
      return sparse_block<6>(plan, arguments, o, vectors + v, stage);
    case 5:
      return sparse_block<5>(plan, arguments, o, vectors + v, stage);
    case 4:
      return sparse_block<4>(plan, arguments, o, vectors + v, stage);
    case 3:
      return sparse_block<3>(plan, arguments, o, vectors + v, stage);
    case 2:
      return sparse_block<2>(plan, arguments, o, vectors + v, stage);
    case 1:
      return sparse_block<1>(plan, arguments, o, vectors + v, stage);
    default:
      return;
  }
}

// What follows the arithmetic of output channel o, on values that are still in the cache.
template <typename T>
HWY_INLINE void finish_output(const DirectPlan& plan, const ConvolutionArguments& arguments, int o, int band, int rows,
                              int first_pixel, int pixels, PartialStatistics* statistics) {
  const Floats d;
  const Feature& output = arguments.output;
  const int first_row = band * plan.rows;
  const auto from_row = [&](int r) {
    return static_cast<const T*>(output.row(o, first_row + r)) + std::ptrdiff_t{first_pixel} * plan.output.depth;
  };
  if (statistics != nullptr) {
    statistics[o] = statistics_of<T>(from_row, rows, std::ptrdiff_t{pixels} * plan.output.depth);
  }
  const Feature& pooled = arguments.pooled.feature;
  if (pooled.data == nullptr) return;
  const Stride stride = pooling_stride(plan.output, pooled.extent);
  // The smallest value is the largest of the negated ones.
  const bool minimum = arguments.pooled.take_minimum != nullptr && arguments.pooled.take_minimum[o] != 0;
  const float sign = minimum ? -1.0f : 1.0f;
  const ActivationVectors take{hn::Set(d, sign), hn::Zero(d), hn::Set(d, 1.0f)};
  const int first_pooled = first_pixel / stride.width;
  const int pooled_pixels = std::min((first_pixel + pixels) / stride.width, pooled.extent.width) - first_pooled;
  const int last_row = std::min((first_row + rows) / stride.height, pooled.extent.height);
  for (int row = first_row / stride.height; row < last_row; ++row) {
    const auto from_block = [&](int a) { return from_row(row * stride.height - first_row + a); };
    T* to = static_cast<T*>(pooled.row(o, row)) + std::ptrdiff_t{first_pooled} * pooled.extent.depth;
    pool_pixels(from_block, plan.output.depth, stride, take, sign, pooled_pixels, pooled.extent.depth, to);
  }
}

void RunDirectItem(const DirectPlan& plan, const ConvolutionArguments& arguments, int band, int item, void* scratch) {
  const int segment = item % plan.segments;
  const int group = item / plan.segments;
  const int rows = std::min(plan.rows, plan.output.height - band * plan.rows);
  const int first_pixel = segment * plan.pixels;
  const int pixels = std::min(plan.pixels, plan.output.width - first_pixel);

  float* stage = static_cast<float*>(scratch);
  stage_item(plan, arguments.sources, band, rows, first_pixel, pixels, stage);

  DirectVector* vectors = reinterpret_cast<DirectVector*>(stage + plan.stage_floats());
  int count = 0;
  const std::ptrdiff_t row_lanes = std::ptrdiff_t{pixels} * plan.output.depth;
  for (int r = 0; r < rows; ++r) {
    const std::ptrdiff_t output =
        arguments.output.element_offset(0, band * plan.rows + r) + std::ptrdiff_t{first_pixel} * plan.output.depth;
    for (std::ptrdiff_t lane = 0; lane < row_lanes; lane += plan.lanes) {
      vectors[count++] = {r * plan.slots_per_row * plan.slot_pitch + lane, output + lane,
                          std::min<std::ptrdiff_t>(plan.lanes, row_lanes - lane)};
    }
  }

  // All groups of a segment share the slot of its first item: each fills its own outputs.
  PartialStatistics* statistics = nullptr;
  if (arguments.statistics != nullptr) {
    statistics = arguments.statistics +
                 (std::ptrdiff_t{band} * plan.segments * plan.output_groups + segment) * plan.kernels.outputs;
  }
  const auto finish = [&](int o) HWY_ATTR {
    if (arguments.output.element == Element::f32) {
      finish_output<float>(plan, arguments, o, band, rows, first_pixel, pixels, statistics);
    } else {
      finish_output<std::uint16_t>(plan, arguments, o, band, rows, first_pixel, pixels, statistics);
    }
  };
  const int end = plan.group_begin(group + 1);
  for (int unit = plan.group_begin(group); unit < end; ++unit) {
    if (!plan.dense) {
      sparse_output(plan, arguments, unit, vectors, count, stage);
      finish(unit);
      continue;
    }
    const int first = plan.block_begin[static_cast<std::size_t>(unit)];
    const int last = plan.block_begin[static_cast<std::size_t>(unit) + 1];
    switch (last - first) {
      case 6:
        dense_outputs<6>(plan, arguments, first, vectors, count, stage);
        break;
      case 5:
        dense_outputs<5>(plan, arguments, first, vectors, count, stage);
        break;
      case 4:
        dense_outputs<4>(plan, arguments, first, vectors, count, stage);
        break;
      case 3:
        dense_outputs<3>(plan, arguments, first, vectors, count, stage);
        break;
      case 2:
        dense_outputs<2>(plan, arguments, first, vectors, count, stage);
        break;
      default:
        dense_outputs<1>(plan, arguments, first, vectors, count, stage);
        break;
    }
    for (int o = first; o < last; ++o) finish(o);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace e2enet::kernels {
namespace {

HWY_EXPORT(VectorLanes);
HWY_EXPORT(RunDirectItem);

class SparseDirect final : public Convolution {
 public:
  SparseDirect(const ConvolutionShape& shape, const SparseKernels& kernels, Element element)
      : run_item_(&HWY_DYNAMIC_DISPATCH(RunDirectItem)),
        plan_(plan_direct(shape, kernels, HWY_DYNAMIC_DISPATCH(VectorLanes)(), kDirectBlockOutputs)) {
    name_ = std::string(plan_.dense ? "dense_direct_" : "sparse_direct_") +
            (element == Element::f32 ? "f32_" : "bf16_") + instruction_set();
  }

  std::string name() const override { return name_; }
  int bands() const override { return plan_.bands(); }
  int rows_per_band() const override { return plan_.rows; }
  int items_per_band() const override { return plan_.segments * plan_.output_groups; }

  std::int64_t item_voxels(int band, int item) const override {
    if (item >= plan_.segments) return 0;  // its statistics are in the slot of the first group's item
    const std::int64_t rows = std::min(plan_.rows, plan_.output.height - band * plan_.rows);
    const std::int64_t pixels = std::min(plan_.pixels, plan_.output.width - item * plan_.pixels);
    return rows * pixels * plan_.output.depth;
  }

  bool can_pool(Stride stride) const override {
    return (plan_.bands() == 1 || plan_.rows % stride.height == 0) &&
           (plan_.segments == 1 || plan_.pixels % stride.width == 0);
  }

  std::size_t packed_bytes() const override { return plan_.packed.size() * sizeof(float); }
  std::size_t scratch_bytes() const override {
    return plan_.stage_floats() * sizeof(float) +
           static_cast<std::size_t>(plan_.rows) * static_cast<std::size_t>(plan_.row_vectors) * sizeof(DirectVector);
  }

  void run(const ConvolutionArguments& arguments, int band, int item, void* scratch) const override {
    run_item_(plan_, arguments, band, item, scratch);
  }

 private:
  void (*run_item_)(const DirectPlan&, const ConvolutionArguments&, int, int, void*);
  DirectPlan plan_;
  std::string name_;
};

}  // namespace

std::unique_ptr<Convolution> make_sparse_direct(const ConvolutionShape& shape, const SparseKernels& kernels,
                                                Element element) {
  prepare_dispatch();
  return std::make_unique<SparseDirect>(shape, kernels, element);
}

}  // namespace e2enet::kernels
#endif  // HWY_ONCE
