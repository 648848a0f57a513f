// All kernels kept: a 2D convolution of oneDNN's with depth as the batch, for any stride.
#pragma once

#include <memory>

#include "kernels/convolution.h"

namespace e2enet::kernels::onednn {

// nullptr where oneDNN has no such primitive on this processor. oneDNN takes memory while it runs, so run() may throw
// Error (out_of_memory).
std::unique_ptr<ConvolutionPlan> make(const ConvolutionProblem& problem);

}  // namespace e2enet::kernels::onednn
