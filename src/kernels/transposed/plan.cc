#include "kernels/transposed/plan.h"

#include <algorithm>

namespace e2enet::kernels::transposed {
namespace {

// Items that a row should have, so that several threads share it; fewer outputs or lanes would not pay for the staging.
constexpr int kItemsPerRow = 8;
constexpr int kVectorsPerItem = 12;
constexpr int kOutputsPerGroup = 16;
constexpr std::size_t kStageBytes = 512 << 10;

}  // namespace

Plan make_plan(const TransposedConvolutionShape& shape, const KernelCounts& kernels, Element element, int lanes) {
  Plan plan;
  plan.integers = element == Element::bf16;
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

}  // namespace e2enet::kernels::transposed
