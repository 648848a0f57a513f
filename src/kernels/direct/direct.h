// A direct sum over kept kernels, for any stride.
#pragma once

#include <memory>

#include "kernels/convolution.h"

namespace e2enet::kernels::direct {

std::unique_ptr<ConvolutionPlan> make(const ConvolutionProblem& problem);

}  // namespace e2enet::kernels::direct
