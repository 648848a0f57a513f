// Winograd F(4x4, 3x3) over kept kernels, with stride 1 or 2. See plan.h for the algorithm's terms and memory
// layout.
//
// An item runs three steps in its scratch memory, about the size of the second-level cache:
//  1. per input channel: load, activate and shift its pixels, transform them along H into the stage (first-level cache)
//     and from there along W into the slab;
//  2. per position: the sparse (or dense) product, whose results replace the consumed inputs of the position before;
//  3. per output: transform back, add the bias, gather statistics and pooled values, store.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/winograd/kernel.cc"
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

#include "base/simd/dispatch.h"
#include "base/simd/dispatch_table.h"
#include "kernels/convolution.h"
#include "kernels/isa-inl.h"
#include "kernels/winograd/input-inl.h"
#include "kernels/winograd/output-inl.h"
#include "kernels/winograd/packing.h"
#include "kernels/winograd/plan.h"
#include "kernels/winograd/products-inl.h"
#include "kernels/winograd/winograd.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {

winograd::VectorUnit winograd_vector_unit() { return {static_cast<int>(hn::Lanes(Floats())), kRegisters}; }

const char* winograd_target() { return hwy::TargetName(HWY_TARGET); }

void run_winograd_item(const winograd::Plan& plan, const winograd::PackedKernels& kernels,
                       const ConvolutionArguments& arguments, int band, int item_index, float* scratch) {
  using namespace winograd_kernels;
  OutputItem item;
  item.plan = &plan;
  item.region = winograd::item_region(plan, band, item_index);

  transform_inputs(plan, item.region, arguments.sources, scratch);
  multiply(plan, kernels, scratch);
  find_valid_lanes(item, scratch);
  const std::int64_t slot = std::int64_t{band} * plan.items_per_band() + item_index;
  if (plan.strided) {
    finish_outputs_of<winograd::Strided>(item, arguments, slot, scratch);
  } else {
    finish_outputs_of<winograd::Unstrided>(item, arguments, slot, scratch);
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

using RunItem = void (*)(const winograd::Plan&, const winograd::PackedKernels&, const ConvolutionArguments&, int, int,
                         float*);

class Winograd final : public Convolution {
 public:
  Winograd(const winograd::Plan& plan, RunItem run_item, const SparseKernels& kernels)
      : plan_(plan), run_(run_item), kernels_(winograd::pack(plan, kernels)) {}

  std::size_t packed_bytes() const override { return kernels_.bytes(); }
  void run(const ConvolutionArguments& arguments, int band, int item, void* scratch) const override {
    run_(plan_, kernels_, arguments, band, item, static_cast<float*>(scratch));
  }

 private:
  const winograd::Plan& plan_;
  RunItem run_;
  winograd::PackedKernels kernels_;
};

class WinogradPlan final : public ConvolutionPlan {
 public:
  explicit WinogradPlan(const ConvolutionProblem& problem, const winograd::Tiling* tiling = nullptr)
      : plan_(problem, E2ENET_DISPATCH(winograd_vector_unit)(), tiling),
        run_(E2ENET_DISPATCH(run_winograd_item)),
        name_(std::string(plan_.dense ? "dense" : "sparse") + "_winograd4x4_" + (plan_.strided ? "stride2_" : "") +
              (problem.element == Element::f32 ? "f32" : "bf16") + "_" + E2ENET_DISPATCH(winograd_target)()) {}

  std::string name() const override { return name_; }
  int bands() const override { return plan_.bands; }
  int rows_per_band() const override { return winograd::kTile * plan_.tiling.tile_rows; }
  int items_per_band() const override { return plan_.items_per_band(); }
  PixelRange pixels(int item) const override {
    const winograd::ItemRegion region = item_region(plan_, 0, item);
    const int begin = winograd::kTile * region.first_tile;
    return {begin, begin + region.pixels};
  }
  std::int64_t slot_voxels(int band, int item) const override { return item_region(plan_, band, item).voxels(); }

  // A pooled voxel must come from one item, and its pixels from one tile.
  bool can_pool(Stride stride) const override {
    const auto divides_tile = [](int factor) { return factor == 1 || factor == 2 || factor == 4; };
    return divides_tile(stride.height) && divides_tile(stride.width) && stride.depth >= 1 &&
           (plan_.depth_segments == 1 || plan_.tiling.depth_segment % stride.depth == 0);
  }

  std::size_t packed_bytes() const override { return winograd::packed_bytes(plan_); }
  std::size_t scratch_bytes() const override { return plan_.scratch_floats * sizeof(float); }

  std::unique_ptr<Convolution> pack(const SparseKernels& kernels) const override {
    return std::make_unique<Winograd>(plan_, run_, kernels);
  }

 private:
  winograd::Plan plan_;
  RunItem run_;
  std::string name_;
};

}  // namespace

namespace winograd {

std::unique_ptr<ConvolutionPlan> make(const ConvolutionProblem& problem) {
  simd::prepare_dispatch();
  return std::make_unique<WinogradPlan>(problem);
}

Plan plan_of(const ConvolutionProblem& problem) {
  simd::prepare_dispatch();
  return Plan(problem, E2ENET_DISPATCH(winograd_vector_unit)());
}

std::unique_ptr<ConvolutionPlan> make_tiled(const ConvolutionProblem& problem, const Tiling& tiling) {
  simd::prepare_dispatch();
  return std::make_unique<WinogradPlan>(problem, &tiling);
}

}  // namespace winograd
}  // namespace e2enet::kernels
#endif  // HWY_ONCE
