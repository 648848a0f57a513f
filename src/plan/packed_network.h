// The step after planning: a network's kernels in the forms that the plan's algorithms read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "model/network.h"
#include "plan/plan.h"

namespace e2enet::plan {

class PackedNetwork {
 public:
  struct Step {
    const model::Layer* layer = nullptr;  // of network()
    std::unique_ptr<kernels::Convolution> convolution;
    std::unique_ptr<kernels::TransposedConvolution> upward;
    std::vector<std::uint8_t> pool_minimum;  // per output channel: kernels::PooledOutput::take_minimum
  };

  // `full`: the network that was planned, with its kernels, which are not needed afterwards. The plan must outlive
  // this. Runs on the plan's threads. Throws Error (out_of_memory).
  PackedNetwork(const Plan& plan, const model::Network& full);

  const model::Network& network() const { return *network_; }  // without kernels
  const std::vector<Step>& steps() const { return steps_; }    // as Plan::steps; a pooling step's is empty

  std::size_t packed_bytes() const;

 private:
  std::shared_ptr<const model::Network> network_;
  std::vector<Step> steps_;
};

}  // namespace e2enet::plan
