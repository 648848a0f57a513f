// The direct convolution's entry in the list of kernels.
#include <cmath>

#include "kernels/direct/direct.h"
#include "kernels/direct/plan.h"
#include "kernels/kernel_list.h"
#include "kernels/machine.h"

namespace e2enet::kernels::direct {
namespace {

Acceptance accepts(const ConvolutionProblem&) { return {}; }

double cost(const ConvolutionProblem& problem) {
  const ConvolutionShape& shape = problem.shape;
  const KernelCounts& kernels = problem.kernels;
  const Extent output = shape.output();
  constexpr double kLanes = machine::kLanes;
  // Lanes are (pixel, depth) pairs of a row.
  const double row_lanes = double(output.width) * output.depth;
  const double lanes = double(output.height) * std::ceil(row_lanes / kLanes) * kLanes;
  // Nine products a kept kernel: in a dense layer a load serves several outputs, in a sparse one each needs its own,
  // and most loads cross a cache line.
  const double product = kernels.density() == 1.0 ? 9.5 : 16.0;
  // Staging, a pixel: slower where every second depth is picked.
  const double staging =
      kLanes * staged_pixels(shape, kernels) *
      (shape.stride.depth == 1 ? 16.0 + 9.0 * std::ceil(output.depth / kLanes) : 1.2 * shape.input.depth);
  return lanes * (product * double(kernels.kept) + 6.0 * kernels.outputs) + staging * kernels.inputs;
}

}  // namespace

extern const ConvolutionEntry kConvolution{"direct", accepts, cost, make};

}  // namespace e2enet::kernels::direct
