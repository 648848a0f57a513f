// Which algorithm computes a layer: of the list of kernels, what the caller asks for, or the least cost.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "kernels/kernel_list.h"

namespace e2enet::plan {

template <typename LayerPlan>
struct Choice {
  std::unique_ptr<LayerPlan> kernel;
  std::string reason;
};

// Whether an instance norm over so few voxels of each channel magnifies what rounding left of its input. A norm divides
// by the standard deviation of n values, which by chance is t times the usual one or less with a probability that falls
// as t^(n-1). In a level of 320 channels, the most that the paper's networks have, the least lucky channel is magnified
// some 320^(1/(n-1)) times: 2 voxels 300 times (where the norm's epsilon ends it), 4 voxels 7 times, 8 voxels 2.3 times
// - no more than an ordinary norm does.
inline bool norm_magnifies_rounding(std::ptrdiff_t voxels) { return voxels < 8; }

// `asked_for`: the name of a kernel that is to compute the layer if it can, or empty.
Choice<kernels::ConvolutionPlan> choose(const kernels::ConvolutionProblem& problem, const std::string& asked_for);
Choice<kernels::TransposedConvolutionPlan> choose(const kernels::TransposedConvolutionProblem& problem,
                                                  const std::string& asked_for);

// Throws Error (invalid_argument) for a name that no kernel has.
void require_kernel_name(const std::string& name);

}  // namespace e2enet::plan
