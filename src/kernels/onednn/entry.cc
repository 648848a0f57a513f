// oneDNN's entry in the list of kernels.
#include "kernels/kernel_list.h"
#include "kernels/onednn/onednn.h"

namespace e2enet::kernels::onednn {
namespace {

Acceptance accepts(const ConvolutionProblem& problem) {
  if (!problem.kernels.dense()) return {Acceptance::Degree::never, "kernels that oneDNN would not leave out"};
  // A run of a network allocates nothing and cannot fail, and its bits are to be those of every version of oneDNN.
  return {Acceptance::Degree::when_asked, "oneDNN takes memory whenever it runs"};
}

// As measured over the dense layers of the paper's network: close to the multiply-add peak, layout changes included.
double cost(const ConvolutionProblem& problem) {
  return 14.0 * double(problem.kernels.kept) * double(problem.shape.output().voxels());
}

}  // namespace

extern const ConvolutionEntry kConvolution{"onednn", accepts, cost, make};

}  // namespace e2enet::kernels::onednn
