#include "plan/packed_network.h"

namespace e2enet::plan {
namespace {

kernels::SparseKernels view(const model::Layer& layer) {
  kernels::SparseKernels kernels;
  kernels.outputs = layer.description.outputs;
  kernels.inputs = layer.description.inputs();
  kernels.taps = layer.description.taps();
  kernels.row_begin = layer.row_begin.data();
  kernels.input = layer.input.data();
  kernels.values = layer.values;
  return kernels;
}

}  // namespace

PackedNetwork::PackedNetwork(const Plan& plan, const model::Network& full) : network_(full.without_kernels()) {
  for (const plan::Step& planned : plan.steps) {
    Step step;
    if (planned.convolution) {
      const ConvolutionStep& convolution = *planned.convolution;
      const auto layer = static_cast<std::size_t>(convolution.layer);
      step.layer = &network_->layers()[layer];
      step.convolution = convolution.kernel->pack(view(full.layers()[layer]));
      if (convolution.upward) {
        step.upward = convolution.upward->pack(view(full.layers()[static_cast<std::size_t>(convolution.upward_layer)]));
      }
      if (convolution.pooled.exists()) {
        for (int output = 0; output < convolution.description.outputs; ++output) {
          step.pool_minimum.push_back(step.layer->norm_weight[output] < 0 ? 1 : 0);
        }
      }
    }
    steps_.push_back(std::move(step));
  }
}

std::size_t PackedNetwork::packed_bytes() const {
  std::size_t bytes = 0;
  for (const Step& step : steps_) {
    if (step.convolution) bytes += step.convolution->packed_bytes();
    if (step.upward) bytes += step.upward->packed_bytes();
  }
  return bytes;
}

}  // namespace e2enet::plan
