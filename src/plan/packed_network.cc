#include "plan/packed_network.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/parallel.h"

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
  // Each layer is packed by itself, so they are shared among the threads.
  struct Task {
    std::size_t step;
    bool upward;
    kernels::SparseKernels kernels;
  };
  std::vector<Task> tasks;
  steps_.resize(plan.steps.size());
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    if (!plan.steps[i].convolution) continue;
    const ConvolutionStep& convolution = *plan.steps[i].convolution;
    const auto layer = static_cast<std::size_t>(convolution.layer);
    steps_[i].layer = &network_->layers()[layer];
    tasks.push_back({i, false, view(full.layers()[layer])});
    if (convolution.upward) {
      tasks.push_back({i, true, view(full.layers()[static_cast<std::size_t>(convolution.upward_layer)])});
    }
    if (convolution.pooled.exists()) {
      for (int output = 0; output < convolution.description.outputs; ++output) {
        steps_[i].pool_minimum.push_back(steps_[i].layer->norm_weight[output] < 0 ? 1 : 0);
      }
    }
  }
  // The largest first, so that no thread has a large one left at the end.
  std::stable_sort(tasks.begin(), tasks.end(),
                   [](const Task& a, const Task& b) { return a.kernels.count() > b.kernels.count(); });
  run_team(plan.threads, [&](const Worker& worker) {
    worker.for_each(static_cast<std::int64_t>(tasks.size()), [&](std::int64_t number) {
      const Task& task = tasks[static_cast<std::size_t>(number)];
      const ConvolutionStep& convolution = *plan.steps[task.step].convolution;
      if (task.upward) {
        steps_[task.step].upward = convolution.upward->pack(task.kernels);
      } else {
        steps_[task.step].convolution = convolution.kernel->pack(task.kernels);
      }
    });
  });
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
