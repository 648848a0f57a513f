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

// One position, kVectors of an item's vectors: products[o] = sum over kept (o, c) of weight * inputs[c].
template <int kVectors>
void sparse_product(const Plan& plan, const PackedKernels& kernels, const float* HWY_RESTRICT inputs,
                    const float* HWY_RESTRICT weights, float* HWY_RESTRICT products) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  const std::size_t output_floats = std::size_t(plan.tiling.vectors) * lanes;
  const std::uint32_t* HWY_RESTRICT offset = kernels.input_offset.data();
  const int rows = plan.outputs * plan.chunks;
  // Two sets of sums hide the latency of a multiply-add better, where registers allow.
  constexpr bool kTwoSets = 2 * kVectors + 4 <= kRegisters;
  for (int r = 0; r < rows; ++r) {
    float* HWY_RESTRICT to = products + kernels.row_output[r] * output_floats;
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
    E2ENET_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) hn::Store(sum[v], d, to + v * lanes);
  }
}

// The same where all kernels are kept: a block of outputs shares the loads of the inputs.
// kOutputs: of a block of the packed kernels.
template <int kOutputs, int kVectors>
void dense_product(const Plan& plan, const float* HWY_RESTRICT inputs, const float* HWY_RESTRICT weights,
                   float* HWY_RESTRICT products) {
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
        E2ENET_UNROLL(8)
        for (int v = 0; v < kVectors; ++v) hn::Store(sum[o][v], d, to + o * channel_floats + v * lanes);
      }
    }
  }
}

template <int kVectors>
HWY_INLINE void multiply_group(const Plan& plan, const PackedKernels& kernels, int position, const float* inputs,
                               float* products) {
  const float* const weights = kernels.weights_of(position);
  if (!plan.dense) return sparse_product<kVectors>(plan, kernels, inputs, weights, products);
  // A group is as large as the one that the kernels were packed for, or one vector smaller.
  constexpr int kOutputs = dense_block_outputs(kRegisters, kVectors);
  constexpr int kOfLarger = dense_block_outputs(kRegisters, kVectors + 1);
  if constexpr (kVectors < 4) {
    if (plan.block_outputs == kOfLarger) return dense_product<kOfLarger, kVectors>(plan, inputs, weights, products);
  }
  dense_product<kOutputs, kVectors>(plan, inputs, weights, products);
}

void multiply(const Plan& plan, const PackedKernels& kernels, float* slab) {
  const int lanes = static_cast<int>(hn::Lanes(Floats()));
  const int vectors = plan.tiling.vectors;
  for (int p = 0; p < plan.positions; ++p) {
    for (int group = 0, first = 0; group < plan.groups; ++group) {
      const int end = (group + 1) * vectors / plan.groups;
      const float* inputs = slab + (p + 1) * plan.region_stride + first * lanes;
      float* products = slab + p * plan.region_stride + first * lanes;
      with_constant<kMaxGroupVectors>(
          end - first, [&](auto count) HWY_ATTR { multiply_group<count>(plan, kernels, p, inputs, products); });
      first = end;
    }
  }
}

}  // namespace winograd_kernels
}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
