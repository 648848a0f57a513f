// Winograd F(4x4, 3x3) over kept kernels. A dropped kernel is zero in the Winograd domain too, so DSFF's connectivity
// survives the transform exactly.
#pragma once

#include <memory>

#include "kernels/convolution.h"
#include "kernels/winograd/plan.h"

namespace e2enet::kernels::winograd {

std::unique_ptr<ConvolutionPlan> make(const ConvolutionProblem& problem);

// For measurements: the plan that make() bases its kernel on, and a kernel of another of its tilings.
Plan plan_of(const ConvolutionProblem& problem);
std::unique_ptr<ConvolutionPlan> make_tiled(const ConvolutionProblem& problem, const Tiling& tiling);

}  // namespace e2enet::kernels::winograd
