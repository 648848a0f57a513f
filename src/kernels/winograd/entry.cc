// The Winograd convolution's entry in the list of kernels.
#include <algorithm>
#include <cmath>

#include "kernels/kernel_list.h"
#include "kernels/machine.h"
#include "kernels/winograd/plan.h"
#include "kernels/winograd/winograd.h"

namespace e2enet::kernels::winograd {
namespace {

// Transformed kernels take four times the memory of the kernels, with stride 2 nine times. What a layer takes beyond so
// many bytes (of floats) is charged, since on coarse levels, with many channels and few voxels, memory is kept for
// little time that it saves: in the paper's network 58 MB for 20 of 1700 ms.
constexpr double kFreeBytes = 10 << 20;
constexpr double kCyclesPerByte = 9.5;

double positions(const ConvolutionProblem& problem) {
  return problem.shape.stride.height == 2 ? double{Strided::kPatch} * Strided::kPatch
                                          : double{Unstrided::kPatch} * Unstrided::kPatch;
}

// Strides 1, and along H and W together, and then along D too or not, 2.
bool takes(const Stride& stride) {
  return stride.height == stride.width && stride.height <= 2 && stride.depth <= stride.height;
}

Acceptance accepts(const ConvolutionProblem& problem) {
  const Stride& stride = problem.shape.stride;
  if (!takes(stride)) return {Acceptance::Degree::never, "strides that Winograd cannot take"};
  // Its transforms round some five times more than a plain sum.
  if (problem.exact) return {Acceptance::Degree::when_asked, "a norm over few voxels will magnify its rounding"};
  return {};
}

double cost(const ConvolutionProblem& problem) {
  const KernelCounts& kernels = problem.kernels;
  const Extent output = problem.shape.output();
  const bool strided = problem.shape.stride.height == 2;
  const auto tiles = [](int size) { return double((size + 3) / 4); };
  // Lanes are (tile, depth) pairs of a tile row; a short row leaves some of the last vector's lanes empty.
  const double row_lanes =
      std::ceil(tiles(output.width) * output.depth / double{machine::kLanes}) * double{machine::kLanes};
  const double lanes = tiles(output.height) * row_lanes;
  // Features of narrow depths come from a cache, but their outputs are cut from lanes that cross pixels.
  const bool whole_vectors = output.depth % machine::kLanes == 0;
  const double transforms_of_channels = whole_vectors ? 430.0 * kernels.inputs + 170.0 * kernels.outputs
                                                      : 350.0 * kernels.inputs + 360.0 * kernels.outputs;
  const double product = positions(problem) * (kernels.density() >= kDenseFrom ? 1.03 : 1.42);
  const double transforms = strided ? 2.25 : 1.0;
  // What fits one vector is one item, for which all threads but one wait; two are taken to have come.
  const double waiting = lanes <= double{machine::kLanes} ? 2.0 : 1.0;
  const double bytes = positions(problem) * sizeof(float) * double(kernels.kept);
  const double memory = kCyclesPerByte * double{machine::kLanes} * std::max(0.0, bytes - kFreeBytes);
  return waiting * lanes * (transforms * transforms_of_channels + product * double(kernels.kept)) + memory;
}

}  // namespace

extern const ConvolutionEntry kConvolution{"winograd", accepts, cost, make};

}  // namespace e2enet::kernels::winograd
