// Parameters and floating point operations, in the paper's convention and as really executed (docs/flops.md).
#pragma once

#include <cstdint>

#include "model/network.h"

namespace e2enet::model {

// Two operations a multiply-add.
struct Flops {
  // The paper's published figures follow this one: a bias is one more multiply-add per output value, and a transposed
  // convolution counts output voxels x kernel volume, which is prod(stride) times the work that it does.
  double paper = 0;
  // What is computed: one multiply-add for each kept value and voxel that it meets, no biases. A Winograd kernel
  // does fewer; this counts the arithmetic of the definition.
  double executed = 0;
};

// Of one layer on a patch; heads other than head 0 are not run and count 0.
Flops count_flops(const Network& network, const Layer& layer, const Extent& patch);
Flops count_flops(const Network& network, const Extent& patch);

// Kept weights, biases and norm parameters of all layers, all heads included.
std::int64_t count_parameters(const Network& network);

}  // namespace e2enet::model
