// The transposed convolution over kept kernels, for any stride.
#pragma once

#include <memory>

#include "kernels/transposed_convolution.h"

namespace e2enet::kernels::transposed {

std::unique_ptr<TransposedConvolutionPlan> make(const TransposedConvolutionProblem& problem);

}  // namespace e2enet::kernels::transposed
