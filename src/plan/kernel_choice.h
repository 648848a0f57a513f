// Which algorithm computes a layer.
#pragma once

#include <memory>
#include <string>

#include "kernels/convolution.h"
#include "plan/plan.h"

namespace e2enet::plan {

struct KernelChoice {
  std::unique_ptr<kernels::Convolution> kernel;
  std::string reason;
};

// By a model of each algorithm's cost, never by a stopwatch: the choice, and with it every bit of the result, is the
// same on every run.
KernelChoice choose_convolution(const kernels::ConvolutionShape& shape, const kernels::SparseKernels& kernels,
                                const PlanOptions& options);

}  // namespace e2enet::plan
