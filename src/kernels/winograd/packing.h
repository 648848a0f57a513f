// The kernels of a Winograd convolution, transformed and in the order in which the products read them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/sparse_kernels.h"
#include "kernels/winograd/plan.h"

namespace e2enet::kernels::winograd {

struct PackedKernels {
  std::vector<std::uint32_t> row_begin;     // sparse
  std::vector<std::uint32_t> row_output;    // sparse
  std::vector<std::uint32_t> input_offset;  // sparse
  std::size_t position_weights = 0;         // as in the plan
  AlignedBuffer weights;

  const float* weights_of(int position) const {
    return reinterpret_cast<const float*>(weights.data()) + position * position_weights;
  }
  std::size_t bytes() const {
    return weights.size() + (row_begin.size() + row_output.size() + input_offset.size()) * sizeof(std::uint32_t);
  }
};

PackedKernels pack(const Plan& plan, const SparseKernels& kernels);

// What pack() takes.
std::size_t packed_bytes(const Plan& plan);

}  // namespace e2enet::kernels::winograd
