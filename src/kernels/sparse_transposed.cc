// Sparse transposed convolution with kernel = stride.
//
// An item takes a segment of one input row: its pixels and depths are consecutive in memory, so vectors run over both.
// The inputs are activated once into a stage; then, output by output, all taps of a few vectors are summed in registers
// over the kept kernels, where one load serves every tap. Taps along depth interleave on store.
#include <algorithm>
#include <cstdint>
#include <string>

#include "kernels/dispatch.h"
#include "kernels/elementwise.h"
#include "kernels/transposed_convolution.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/sparse_transposed.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once for each target.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "kernels/dispatch_table.h"
#include "kernels/isa-inl.h"
#include "kernels/vector-inl.h"

#ifndef E2ENET_KERNELS_SPARSE_TRANSPOSED_ONCE
#define E2ENET_KERNELS_SPARSE_TRANSPOSED_ONCE
namespace e2enet::kernels {

struct TransposedPlan {
  TransposedConvolutionShape shape;
  SparseKernels kernels;
  int lanes = 1;
  int pixels = 1;  // of an item
  int segments = 1;
  int output_groups = 1;       // items of a row = segments * output_groups
  std::ptrdiff_t pitch = 0;    // floats of one staged channel: a segment's lanes, rounded up to whole vectors
  bool interleaved = false;    // taps along depth are written side by side as they leave the registers
  bool whole_vectors = false;  // no vector crosses a pixel: results go straight to the output

  int taps() const { return shape.stride.depth * shape.stride.height * shape.stride.width; }
  // Both in whole cache lines, so that what follows in the scratch is aligned for any type.
  std::size_t stage_floats() const { return (static_cast<std::size_t>(kernels.inputs * pitch) + 15) / 16 * 16; }
  // Where results wait to be laid apart: all taps of one output.
  std::size_t buffer_floats() const {
    return whole_vectors ? 0 : (static_cast<std::size_t>(taps() * pitch) + 15) / 16 * 16;
  }
};

}  // namespace e2enet::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {

// Vectors that are summed at once for a number of taps: as many accumulators as the registers hold.
constexpr int vectors_for(int taps) {
  if (kRegisters >= 32) return taps == 8 ? 3 : taps == 4 ? 5 : 8;
  return taps == 8 ? 1 : taps == 4 ? 2 : taps == 2 ? 4 : 8;  // of 16 registers
}

int TransposedLanes() { return static_cast<int>(hn::Lanes(Floats())); }

// Lane l of `even` and `odd` become elements 2 * l and 2 * l + 1. kStream: past the caches, to an aligned place.
#if E2ENET_ONE_LANE

template <bool kStream, typename T>
HWY_INLINE void store_interleaved(Floats d, FloatVector even, FloatVector odd, T* to) {
  store_elements(d, even, to);
  store_elements(d, odd, to + 1);
}

#else

template <bool kStream>
HWY_INLINE void store_interleaved(Floats d, FloatVector even, FloatVector odd, float* to) {
  if constexpr (kStream) {
    HWY_ALIGN float pair[2 * HWY_MAX_BYTES / sizeof(float)];
    hn::StoreInterleaved2(even, odd, d, pair);
    hn::Stream(hn::Load(d, pair), d, to);
    hn::Stream(hn::Load(d, pair + hn::Lanes(d)), d, to + hn::Lanes(d));
  } else {
    hn::StoreInterleaved2(even, odd, d, to);
  }
}

// Two bf16 side by side are one 32-bit word.
template <bool kStream>
HWY_INLINE void store_interleaved(Floats, FloatVector even, FloatVector odd, std::uint16_t* to) {
  const hn::RebindToUnsigned<Floats> du;
  const hn::Repartition<std::uint16_t, hn::RebindToUnsigned<Floats> > du16;
  const auto low = hn::ShiftRight<16>(rounded_bits(even));
  const auto high = hn::And(rounded_bits(odd), hn::Set(du, 0xFFFF0000u));
  const auto words = hn::BitCast(du16, hn::Or(low, high));
  if constexpr (kStream) {
    hn::Stream(words, du16, to);
  } else {
    hn::StoreU(words, du16, to);
  }
}

#endif

// Sums kStep * kPlane taps of kVectors vectors of output o. Tap t of kernel k is at values[k * taps + t]; the taps of
// depth a are t = a * kPlane + p. Vector v of plane tap p goes to to[p] + offsets[v], interleaved along depth if kStep
// is 2; if kStream, past the caches.
template <int kStep, int kPlane, int kVectors, bool kStream, typename T>
HWY_NOINLINE void sum_taps(const SparseKernels& kernels, int o, int first_tap, const float* stage, std::ptrdiff_t pitch,
                           T* const* to, const std::ptrdiff_t* offsets) {
  const Floats d;
  const std::ptrdiff_t lanes = static_cast<std::ptrdiff_t>(hn::Lanes(d));
  FloatVector sums[kStep][kPlane][kVectors];
  E2ENET_UNROLL(8)
  for (int a = 0; a < kStep; ++a) {
    E2ENET_UNROLL(8)
    for (int p = 0; p < kPlane; ++p) {
      E2ENET_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) sums[a][p][v] = hn::Zero(d);
    }
  }
  const std::int32_t end = kernels.row_begin[o + 1];
  const float* weights = kernels.values + std::ptrdiff_t{kernels.row_begin[o]} * kernels.taps + first_tap;
  for (std::int32_t k = kernels.row_begin[o]; k < end; ++k, weights += kernels.taps) {
    const float* x = stage + kernels.input[k] * pitch;
    FloatVector inputs[kVectors];
    E2ENET_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) inputs[v] = hn::LoadU(d, x + v * lanes);
    E2ENET_UNROLL(8)
    for (int a = 0; a < kStep; ++a) {
      E2ENET_UNROLL(8)
      for (int p = 0; p < kPlane; ++p) {
        const FloatVector weight = hn::Set(d, weights[a * kPlane + p]);
        E2ENET_UNROLL(8)
        for (int v = 0; v < kVectors; ++v) sums[a][p][v] = hn::MulAdd(inputs[v], weight, sums[a][p][v]);
      }
    }
  }
  E2ENET_UNROLL(8)
  for (int p = 0; p < kPlane; ++p) {
    E2ENET_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) {
      if (kStep == 2) {
        store_interleaved<kStream>(d, sums[0][p][v], sums[kStep - 1][p][v], to[p] + offsets[v]);
      } else {
        store_elements(d, sums[0][p][v], to[p] + offsets[v]);
      }
    }
  }
}

// All vectors of a segment, in groups as even as can be.
template <int kStep, int kPlane, bool kStream = false, typename T>
HWY_INLINE void sum_segment(const SparseKernels& kernels, int o, int first_tap, const float* stage,
                            std::ptrdiff_t pitch, T* const* to, const std::ptrdiff_t* offsets, int count) {
  constexpr int kMost = vectors_for(kStep * kPlane);
  const Floats d;
  const std::ptrdiff_t lanes = static_cast<std::ptrdiff_t>(hn::Lanes(d));
  while (count > 0) {
    // A last group of one vector would wait for its sums' latency: two groups of two take its place.
    const int some = count <= kMost ? count : (count == kMost + 1 && kMost > 2 ? kMost - 1 : kMost);
    switch (some) {
#define E2ENET_CASE(N)                                                                       \
  case N:                                                                                    \
    if constexpr (N <= kMost) {                                                              \
      sum_taps<kStep, kPlane, N, kStream>(kernels, o, first_tap, stage, pitch, to, offsets); \
    }                                                                                        \
    break;
      E2ENET_CASE(1)
      E2ENET_CASE(2)
      E2ENET_CASE(3)
      E2ENET_CASE(4)
      E2ENET_CASE(5)
      E2ENET_CASE(6)
      E2ENET_CASE(7)
      E2ENET_CASE(8)
#undef E2ENET_CASE
      default:
        break;
    }
    stage += some * lanes;
    offsets += some;
    count -= some;
  }
}

// Any number of taps, `interleaved` or tap by tap.
template <typename T>
HWY_INLINE void sum_output(const TransposedPlan& plan, int o, const float* stage, T* const* to,
                           const std::ptrdiff_t* offsets, int count, bool stream) {
  const int planes = plan.interleaved ? plan.taps() / plan.shape.stride.depth : plan.taps();
  if (plan.interleaved && plan.shape.stride.depth == 2) {
    switch (planes) {
      case 1:
        return sum_segment<2, 1>(plan.kernels, o, 0, stage, plan.pitch, to, offsets, count);
      case 2:
        return sum_segment<2, 2>(plan.kernels, o, 0, stage, plan.pitch, to, offsets, count);
      default:
        if (stream) return sum_segment<2, 4, true>(plan.kernels, o, 0, stage, plan.pitch, to, offsets, count);
        return sum_segment<2, 4>(plan.kernels, o, 0, stage, plan.pitch, to, offsets, count);
    }
  }
  int tap = 0;
  for (; tap + 8 <= planes; tap += 8)
    sum_segment<1, 8>(plan.kernels, o, tap, stage, plan.pitch, to + tap, offsets, count);
  for (; tap + 4 <= planes; tap += 4)
    sum_segment<1, 4>(plan.kernels, o, tap, stage, plan.pitch, to + tap, offsets, count);
  for (; tap < planes; ++tap) sum_segment<1, 1>(plan.kernels, o, tap, stage, plan.pitch, to + tap, offsets, count);
}

// Whether an output (or the ring that holds part of it) is best stored past the caches, and all that is written are
// whole cache lines.
bool streams(const TransposedPlan& plan, const Feature& output) {
  return plan.shape.stride.depth == 2 && plan.lanes * sizeof(float) == kCacheLine && stores_past_caches(output);
}

template <typename T>
void RunTransposed(const TransposedPlan& plan, const Source& source, const Feature& output, int input_row, int item,
                   void* scratch) {
  const Floats d;
  const Stride& stride = plan.shape.stride;
  const std::ptrdiff_t depth = plan.shape.input.depth;
  const int segment = item % plan.segments;
  const int group = item / plan.segments;
  const int first_pixel = segment * plan.pixels;
  const int pixels = std::min(plan.pixels, plan.shape.input.width - first_pixel);
  const std::ptrdiff_t lanes_used = pixels * depth;
  const int vectors = static_cast<int>((lanes_used + plan.lanes - 1) / plan.lanes);

  float* stage = static_cast<float*>(scratch);
  for (int c = 0; c < plan.kernels.inputs; ++c) {
    const ActivationVectors activate = activation_of(d, source.activation, c);
    const std::ptrdiff_t first = first_pixel * depth;
    if (source.feature.element == Element::f32) {
      activate_elements(static_cast<const float*>(source.feature.row(c, input_row)) + first, activate, lanes_used,
                        stage + c * plan.pitch);
    } else {
      activate_elements(static_cast<const std::uint16_t*>(source.feature.row(c, input_row)) + first, activate,
                        lanes_used, stage + c * plan.pitch);
    }
  }
  float* buffer = stage + plan.stage_floats();
  std::ptrdiff_t* offsets = reinterpret_cast<std::ptrdiff_t*>(buffer + plan.buffer_floats());
  void* pointers = offsets + plan.pitch / plan.lanes;

  const std::ptrdiff_t output_depth = depth * stride.depth;
  const int plane = stride.height * stride.width;
  const int first_output = static_cast<int>(std::int64_t{plan.kernels.outputs} * group / plan.output_groups);
  const int last_output = static_cast<int>(std::int64_t{plan.kernels.outputs} * (group + 1) / plan.output_groups);
  if (plan.whole_vectors) {
    T** to = static_cast<T**>(pointers);
    const bool stream = streams(plan, output);
    for (int v = 0; v < vectors; ++v) {
      const std::ptrdiff_t lane = std::ptrdiff_t{v} * plan.lanes;
      offsets[v] = lane / depth * stride.width * output_depth + lane % depth * stride.depth;
    }
    for (int o = first_output; o < last_output; ++o) {
      for (int p = 0; p < plane; ++p) {
        to[p] = static_cast<T*>(output.row(o, input_row * stride.height + p / stride.width)) +
                (std::ptrdiff_t{first_pixel} * stride.width + p % stride.width) * output_depth;
      }
      sum_output(plan, o, stage, to, offsets, vectors, stream);
    }
    if (stream) hwy::FlushStream();
    return;
  }

  float** to = static_cast<float**>(pointers);
  // Through the buffer: [plane tap][lane][depth tap] if interleaved, else [tap][lane].
  const int depth_taps = plan.interleaved ? 1 : stride.depth;  // that are still apart
  const std::ptrdiff_t spread = plan.interleaved ? stride.depth : 1;
  for (int v = 0; v < vectors; ++v) offsets[v] = std::ptrdiff_t{v} * plan.lanes * spread;
  for (int p = 0; p < plane * depth_taps; ++p) to[p] = buffer + p * plan.pitch * spread;
  for (int o = first_output; o < last_output; ++o) {
    sum_output(plan, o, stage, to, offsets, vectors, false);
    for (int p = 0; p < plane; ++p) {
      T* row = static_cast<T*>(output.row(o, input_row * stride.height + p / stride.width)) +
               (std::ptrdiff_t{first_pixel} * stride.width + p % stride.width) * output_depth;
      for (int w = 0; w < pixels; ++w, row += stride.width * output_depth) {
        if (depth_taps == 1) {
          const float* from = buffer + (p * plan.pitch + w * depth) * spread;
          std::ptrdiff_t i = 0;
          for (; i + plan.lanes <= output_depth; i += plan.lanes) store_elements(d, hn::LoadU(d, from + i), row + i);
          if (i < output_depth)
            store_some(d, hn::LoadU(d, from + i), row + i, static_cast<std::size_t>(output_depth - i));
          continue;
        }
        for (int a = 0; a < depth_taps; ++a) {
          const float* from = buffer + (a * plane + p) * plan.pitch + w * depth;
          for (std::ptrdiff_t i = 0; i < depth; ++i) store_some(d, hn::Set(d, from[i]), row + i * depth_taps + a, 1);
        }
      }
    }
  }
}

void RunTransposedF32(const TransposedPlan& plan, const Source& source, const Feature& output, int input_row, int item,
                      void* scratch) {
  RunTransposed<float>(plan, source, output, input_row, item, scratch);
}

void RunTransposedBf16(const TransposedPlan& plan, const Source& source, const Feature& output, int input_row, int item,
                       void* scratch) {
  RunTransposed<std::uint16_t>(plan, source, output, input_row, item, scratch);
}

}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace e2enet::kernels {
namespace {

HWY_EXPORT(TransposedLanes);
HWY_EXPORT(RunTransposedF32);
HWY_EXPORT(RunTransposedBf16);

// Items that a row should have, so that several threads share it; fewer outputs or lanes would not pay for the staging.
constexpr int kItemsPerRow = 8;
constexpr int kVectorsPerItem = 12;
constexpr int kOutputsPerGroup = 16;
constexpr std::size_t kStageBytes = 512 << 10;

TransposedPlan plan_transposed(const TransposedConvolutionShape& shape, const SparseKernels& kernels, int lanes) {
  TransposedPlan plan;
  plan.shape = shape;
  plan.kernels = kernels;
  plan.lanes = lanes;
  const int depth = shape.input.depth;
  const int width = shape.input.width;
  const int least = std::clamp(kVectorsPerItem * lanes / depth, 1, width);
  // Up to twice as many pixels, where that leaves fewer lanes of the last vector empty.
  plan.pixels = least;
  const auto waste = [&](int pixels) {
    const int used = pixels * depth;
    return double((used + lanes - 1) / lanes * lanes) / used;
  };
  for (int pixels = least + 1; pixels <= std::min(2 * least, width); ++pixels) {
    if (waste(pixels) < waste(plan.pixels) - 0.02) plan.pixels = pixels;
  }
  while (plan.pixels > 1 &&
         static_cast<std::size_t>(plan.pixels) * depth * kernels.inputs * sizeof(float) > kStageBytes) {
    plan.pixels = (plan.pixels + 1) / 2;
  }
  plan.segments = (width + plan.pixels - 1) / plan.pixels;
  plan.output_groups = std::clamp((kItemsPerRow + plan.segments - 1) / plan.segments, 1,
                                  std::max(1, kernels.outputs / kOutputsPerGroup));
  plan.pitch = (std::ptrdiff_t{plan.pixels} * depth + lanes - 1) / lanes * lanes;
  const int plane = shape.stride.height * shape.stride.width;
  plan.interleaved = shape.stride.depth == 1 || (shape.stride.depth == 2 && (plane == 1 || plane == 2 || plane == 4));
  plan.whole_vectors = plan.interleaved && depth % lanes == 0;
  return plan;
}

class SparseTransposed final : public TransposedConvolution {
 public:
  SparseTransposed(const TransposedConvolutionShape& shape, const SparseKernels& kernels, Element element)
      : run_f32_(E2ENET_DISPATCH(RunTransposedF32)),
        run_bf16_(E2ENET_DISPATCH(RunTransposedBf16)),
        kernels_(kernels),
        plan_(plan_transposed(shape, kernels_.view(), E2ENET_DISPATCH(TransposedLanes)())) {
    const Stride& stride = shape.stride;
    name_ = "sparse_transposed" + std::to_string(stride.depth) + "x" + std::to_string(stride.height) + "x" +
            std::to_string(stride.width) + (element == Element::f32 ? "_f32_" : "_bf16_") + instruction_set();
  }

  std::string name() const override { return name_; }
  int items_per_row() const override { return plan_.segments * plan_.output_groups; }
  std::size_t packed_bytes() const override { return kernels_.bytes(); }
  std::size_t scratch_bytes() const override {
    return (plan_.stage_floats() + plan_.buffer_floats()) * sizeof(float) +
           static_cast<std::size_t>(plan_.pitch / plan_.lanes) * sizeof(std::ptrdiff_t) +
           static_cast<std::size_t>(plan_.taps()) * sizeof(void*);
  }

  void run(const Source& source, const Feature& output, int input_row, int item, void* scratch) const override {
    (output.element == Element::f32 ? run_f32_ : run_bf16_)(plan_, source, output, input_row, item, scratch);
  }

 private:
  using Run = void (*)(const TransposedPlan&, const Source&, const Feature&, int, int, void*);
  Run run_f32_;
  Run run_bf16_;
  KernelCopy kernels_;
  TransposedPlan plan_;  // looks into kernels_
  std::string name_;
};

}  // namespace

std::unique_ptr<TransposedConvolution> make_sparse_transposed(const TransposedConvolutionShape& shape,
                                                              const SparseKernels& kernels, Element element) {
  prepare_dispatch();
  return std::make_unique<SparseTransposed>(shape, kernels, element);
}

}  // namespace e2enet::kernels
#endif  // HWY_ONCE
