// Step 2 of an item: at each position, products of transformed kernels and inputs.
#if defined(E2ENET_KERNELS_WINOGRAD_PRODUCTS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef E2ENET_KERNELS_WINOGRAD_PRODUCTS_INL_H
#undef E2ENET_KERNELS_WINOGRAD_PRODUCTS_INL_H
#else
#define E2ENET_KERNELS_WINOGRAD_PRODUCTS_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/isa-inl.h"
#include "kernels/vector-inl.h"
#include "kernels/weight_rows-inl.h"
#include "kernels/winograd/packing.h"
#include "kernels/winograd/plan.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {
namespace winograd_kernels {

using winograd::dense_block_outputs;
using winograd::kMaxGroupVectors;
using winograd::PackedKernels;
using winograd::Plan;

// Four weights in each block of four lanes, and the choice of one of them for all lanes. A load broadcasts a single
// weight just as well, but loads are what the sparse product is short of; the shuffle is free.
#if E2ENET_ONE_LANE
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

template <int kVectors>
HWY_INLINE void multiply_all(float factor, FloatVector (&sum)[kVectors]) {
  const Floats d;
  E2ENET_UNROLL(8)
  for (int v = 0; v < kVectors; ++v) sum[v] = hn::Mul(sum[v], hn::Set(d, factor));
}

// One position, kVectors of an item's vectors: products[o] = scales of o's row and of the position * sum over kept (o,
// c) of weight * inputs[c]; where weights are floats there are no scales.
template <int kVectors>
void sparse_product(const Plan& plan, const PackedKernels& kernels, float position_scale,
                    const float* HWY_RESTRICT inputs, const float* HWY_RESTRICT weights, float* HWY_RESTRICT products) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  const std::size_t output_floats = std::size_t(plan.tiling.vectors) * lanes;
  const std::uint32_t* HWY_RESTRICT offset = kernels.input_offset.data();
  const int rows = plan.outputs * plan.chunks;
  // Two sets of sums hide the latency of a multiply-add better, where registers allow.
  constexpr bool kTwoSets = 2 * kVectors + 4 <= kRegisters;
  for (int r = 0; r < rows; ++r) {
    float* HWY_RESTRICT to = products + kernels.row_output[r] * output_floats;
    const auto scale = [&] { return kernels.row_scale[r] * position_scale; };  // of integers
    FloatVector sum[kVectors];
    if (r < plan.outputs) {
      E2ENET_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) sum[v] = hn::Zero(d);
    } else {  // a further chunk of channels
      E2ENET_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) sum[v] = hn::Load(d, to + v * lanes);
      if (plan.integers) multiply_all(1.0f / scale(), sum);
    }
    FloatVector second[kVectors];
    if constexpr (kTwoSets) {
      E2ENET_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) second[v] = hn::Zero(d);
    }
    const std::uint32_t end = kernels.row_begin[r + 1];
    std::uint32_t k = kernels.row_begin[r];
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
    if (plan.integers) multiply_all(scale(), sum);
    E2ENET_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) hn::Store(sum[v], d, to + v * lanes);
  }
}

// The same where all kernels are kept: a block of outputs shares the loads of the inputs.
// kOutputs: of a block of the packed kernels.
template <int kOutputs, int kVectors>
void dense_product(const Plan& plan, const PackedKernels& kernels, float position_scale,
                   const float* HWY_RESTRICT inputs, const float* HWY_RESTRICT weights, float* HWY_RESTRICT products) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  const std::size_t channel_floats = std::size_t(plan.tiling.vectors) * lanes;  // and those of an output
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
      from += channel_floats;
      weights += kOutputs;
    }
    float* to = products + first * channel_floats;
    const int valid = std::min(kOutputs, plan.outputs - first);
    E2ENET_UNROLL(12)
    for (int o = 0; o < kOutputs; ++o) {
      if (o < valid) {
        if (plan.integers) multiply_all(kernels.row_scale[first + o] * position_scale, sum[o]);
        E2ENET_UNROLL(8)
        for (int v = 0; v < kVectors; ++v) hn::Store(sum[o][v], d, to + o * channel_floats + v * lanes);
      }
    }
  }
}

template <int kVectors>
HWY_INLINE void multiply_group(const Plan& plan, const PackedKernels& kernels, float scale, const float* inputs,
                               const float* weights, float* products) {
  if (!plan.dense) return sparse_product<kVectors>(plan, kernels, scale, inputs, weights, products);
  // A group is as large as the one that the kernels were packed for, or one vector smaller.
  constexpr int kOutputs = dense_block_outputs(kRegisters, kVectors);
  constexpr int kOfLarger = dense_block_outputs(kRegisters, kVectors + 1);
  if constexpr (kVectors < 4) {
    if (plan.block_outputs == kOfLarger) {
      return dense_product<kOfLarger, kVectors>(plan, kernels, scale, inputs, weights, products);
    }
  }
  dense_product<kOutputs, kVectors>(plan, kernels, scale, inputs, weights, products);
}

void multiply(const Plan& plan, const PackedKernels& kernels, float* scratch) {
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  const int vectors = plan.tiling.vectors;
  constexpr float kOne = 1;  // products are scaled, not weights
  for (int p = 0; p < plan.positions; ++p) {
    const float* const weights = plan.integers ? widened(kernels.weights_of<std::int16_t>(p), plan.position_weights,
                                                         &kOne, 1, scratch + plan.weights_offset)
                                               : kernels.weights_of<float>(p);
    for (int group = 0, first = 0; group < plan.groups; ++group) {
      const int end = (group + 1) * vectors / plan.groups;
      const float* inputs = scratch + (p + 1) * plan.region_stride + first * lanes;
      float* products = scratch + p * plan.region_stride + first * lanes;
      with_constant<kMaxGroupVectors>(end - first, [&](auto count) HWY_ATTR {
        multiply_group<count>(plan, kernels, kernels.position_scale[p], inputs, weights, products);
      });
      first = end;
    }
  }
}

}  // namespace winograd_kernels
}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
