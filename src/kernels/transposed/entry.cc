// The transposed convolution's entry in the list of kernels.
#include "kernels/kernel_list.h"
#include "kernels/transposed/transposed.h"

namespace e2enet::kernels::transposed {
namespace {

Acceptance accepts(const TransposedConvolutionProblem&) { return {}; }

// One multiply-add for each kept value and input voxel.
double cost(const TransposedConvolutionProblem& problem) {
  return double(problem.kernels.kept) * problem.kernels.taps * double(problem.shape.input.voxels());
}

}  // namespace

extern const TransposedConvolutionEntry kTransposedConvolution{"transposed", accepts, cost, make};

}  // namespace e2enet::kernels::transposed
