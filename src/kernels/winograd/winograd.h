// Winograd F(4x4, 3x3) over kept kernels. A dropped kernel is zero in the Winograd domain too, so DSFF's connectivity
// survives the transform exactly.
#pragma once

#include <memory>

#include "kernels/convolution.h"

namespace e2enet::kernels::winograd {

std::unique_ptr<ConvolutionPlan> make(const ConvolutionProblem& problem);

}  // namespace e2enet::kernels::winograd
