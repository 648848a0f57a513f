// Plain loops in double precision: the references that every other algorithm is tested against.
#pragma once

#include <memory>

#include "kernels/convolution.h"
#include "kernels/transposed_convolution.h"

namespace e2enet::kernels::reference {

std::unique_ptr<ConvolutionPlan> make(const ConvolutionProblem& problem);
std::unique_ptr<TransposedConvolutionPlan> make_transposed(const TransposedConvolutionProblem& problem);

}  // namespace e2enet::kernels::reference
