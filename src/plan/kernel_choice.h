// Which algorithm computes a layer.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "kernels/convolution.h"
#include "plan/plan.h"

namespace e2enet::plan {

struct KernelChoice {
  std::unique_ptr<kernels::Convolution> kernel;
  std::string reason;
};

// Whether an instance norm over so few voxels of each channel magnifies what rounding left of its input. A norm divides
// by the standard deviation of n values, which by chance is t times the usual one or less with a probability that falls
// as t^(n-1). In a level of 320 channels, the most that the paper's networks have, the least lucky channel is magnified
// some 320^(1/(n-1)) times: 2 voxels 300 times (where the norm's epsilon ends it), 4 voxels 7 times, 8 voxels 2.3 times
// - no more than an ordinary norm does.
inline bool norm_magnifies_rounding(std::ptrdiff_t voxels) { return voxels < 8; }

// By a model of each algorithm's cost, never by a stopwatch: the choice, and with it every bit of the result, is the
// same on every run. `exact`: the layer leads to a norm that magnifies rounding, so Winograd, whose transforms round
// some five times more than a plain sum, is out.
KernelChoice choose_convolution(const kernels::ConvolutionShape& shape, const kernels::SparseKernels& kernels,
                                const PlanOptions& options, bool exact = false);

}  // namespace e2enet::plan
