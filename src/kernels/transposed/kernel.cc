// Sparse transposed convolution with kernel = stride.
//
// An item takes a segment of one input row: its pixels and depths are consecutive in memory, so vectors run over both.
// The inputs are activated once into a stage; then, output by output, all taps of a few vectors are summed in registers
// over the kept kernels, where one load serves every tap. Taps along depth interleave on store.
#include <algorithm>
#include <cstdint>
#include <string>

#include "base/simd/dispatch.h"
#include "kernels/elementwise.h"
#include "kernels/transposed/plan.h"
#include "kernels/transposed/transposed.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/transposed/kernel.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once for each target.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "base/simd/dispatch_table.h"
#include "kernels/isa-inl.h"
#include "kernels/transposed/sums-inl.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {

int TransposedLanes() { return static_cast<int>(hn::Lanes(Floats())); }

// Whether an output (or the ring that holds part of it) is best stored past the caches, and all that is written are
// whole cache lines.
bool streams(const transposed::Plan& plan, const Feature& output) {
  return E2ENET_STREAMS && plan.shape.stride.depth == 2 &&
         2 * std::size_t(plan.lanes) * element_bytes(output.element) % kCacheLine == 0 && stores_past_caches(output);
}

template <typename T>
void RunTransposed(const transposed::Plan& plan, const SparseWeights& kernels, const Source& source,
                   const Feature& output, int input_row, int item, void* scratch) {
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
  float* const widened_weights = stage + plan.stage_floats();
  float* buffer = widened_weights + plan.weights_floats();
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
      sum_output(plan, sparse_row(kernels, o, widened_weights), stage, to, offsets, vectors, stream);
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
    sum_output(plan, sparse_row(kernels, o, widened_weights), stage, to, offsets, vectors, false);
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

void RunTransposedF32(const transposed::Plan& plan, const SparseWeights& kernels, const Source& source,
                      const Feature& output, int input_row, int item, void* scratch) {
  RunTransposed<float>(plan, kernels, source, output, input_row, item, scratch);
}

void RunTransposedBf16(const transposed::Plan& plan, const SparseWeights& kernels, const Source& source,
                       const Feature& output, int input_row, int item, void* scratch) {
  RunTransposed<std::uint16_t>(plan, kernels, source, output, input_row, item, scratch);
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

using Run = void (*)(const transposed::Plan&, const SparseWeights&, const Source&, const Feature&, int, int, void*);

class SparseTransposed final : public TransposedConvolution {
 public:
  SparseTransposed(const transposed::Plan& plan, Run run_f32, Run run_bf16, const SparseKernels& kernels)
      : plan_(plan), run_f32_(run_f32), run_bf16_(run_bf16), kernels_(kernels, plan.integers) {}

  std::size_t packed_bytes() const override { return kernels_.bytes(); }
  void run(const Source& source, const Feature& output, int input_row, int item, void* scratch) const override {
    (output.element == Element::f32 ? run_f32_ : run_bf16_)(plan_, kernels_, source, output, input_row, item, scratch);
  }

 private:
  const transposed::Plan& plan_;
  Run run_f32_;
  Run run_bf16_;
  SparseWeights kernels_;
};

class SparseTransposedPlan final : public TransposedConvolutionPlan {
 public:
  explicit SparseTransposedPlan(const TransposedConvolutionProblem& problem)
      : run_f32_(E2ENET_DISPATCH(RunTransposedF32)),
        run_bf16_(E2ENET_DISPATCH(RunTransposedBf16)),
        plan_(transposed::make_plan(problem.shape, problem.kernels, problem.element,
                                    E2ENET_DISPATCH(TransposedLanes)())) {
    const Stride& stride = problem.shape.stride;
    name_ = "sparse_transposed" + std::to_string(stride.depth) + "x" + std::to_string(stride.height) + "x" +
            std::to_string(stride.width) + (problem.element == Element::f32 ? "_f32_" : "_bf16_") +
            simd::instruction_set();
  }

  std::string name() const override { return name_; }
  int items_per_row() const override { return plan_.segments * plan_.output_groups; }
  PixelRange pixels(int item) const override {
    const int begin = item % plan_.segments * plan_.pixels;
    const int end = std::min(begin + plan_.pixels, plan_.shape.input.width);
    return {begin * plan_.shape.stride.width, end * plan_.shape.stride.width};
  }
  std::size_t packed_bytes() const override { return SparseWeights::bytes(plan_.kernels, plan_.integers); }
  std::size_t scratch_bytes() const override { return plan_.scratch_bytes(); }
  std::unique_ptr<TransposedConvolution> pack(const SparseKernels& kernels) const override {
    return std::make_unique<SparseTransposed>(plan_, run_f32_, run_bf16_, kernels);
  }

 private:
  Run run_f32_;
  Run run_bf16_;
  transposed::Plan plan_;
  std::string name_;
};

}  // namespace

namespace transposed {

std::unique_ptr<TransposedConvolutionPlan> make(const TransposedConvolutionProblem& problem) {
  simd::prepare_dispatch();
  return std::make_unique<SparseTransposedPlan>(problem);
}

}  // namespace transposed
}  // namespace e2enet::kernels
#endif  // HWY_ONCE
