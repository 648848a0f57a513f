// The kernels of a Winograd convolution, transformed and in the order in which the products read them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/sparse_kernels.h"
#include "kernels/winograd/plan.h"

namespace e2enet::kernels::winograd {

// Where the plan says so, weights are integers of 16 bits: a kernel's transform at position p, divided by the scales of
// p and of its row. So half the memory holds them, with an error of at most half a 32 767th of the row's largest, as it
// is scaled. A row is the kept kernels of an output, or those of a chunk of channels.
struct PackedKernels {
  std::vector<std::uint32_t> row_begin;     // sparse
  std::vector<std::uint32_t> row_output;    // sparse
  std::vector<std::uint32_t> input_offset;  // sparse
  std::size_t position_weights = 0;         // as in the plan
  AlignedBuffer weights;
  std::vector<float> row_scale;       // sparse: of each row; dense: of each output; 1 where weights are floats
  std::vector<float> position_scale;  // 1 where weights are floats

  // T: float, or std::int16_t where the plan has integers.
  template <typename T>
  const T* weights_of(int position) const {
    return reinterpret_cast<const T*>(weights.data()) + position * position_weights;
  }
  std::size_t bytes() const {
    return weights.size() + (row_begin.size() + row_output.size() + input_offset.size()) * sizeof(std::uint32_t) +
           (row_scale.size() + position_scale.size()) * sizeof(float);
  }
};

PackedKernels pack(const Plan& plan, const SparseKernels& kernels);

// What pack() takes.
std::size_t packed_bytes(const Plan& plan);

}  // namespace e2enet::kernels::winograd
