// The kept kernels of a layer and their connectivity.
#pragma once

#include <cstdint>

namespace e2enet::kernels {

// How many kernels a layer has and keeps: all that planning needs of them.
struct KernelCounts {
  int outputs = 0;
  int inputs = 0;
  int taps = 9;
  std::int64_t kept = 0;

  bool dense() const { return outputs > 0 && kept == std::int64_t{outputs} * inputs; }
  double density() const { return outputs && inputs ? double(kept) / (double(outputs) * inputs) : 0.0; }
};

// A view; the model owns the memory. Compressed rows: the kept kernels of output channel o are number row_begin[o] up
// to row_begin[o + 1], in the order of their input channels. Kernel k reads channel input[k], and its taps are values[k
// * taps ... (k + 1) * taps), ordered (height, width) for a convolution and (depth, height, width) for a transposed
// one.
struct SparseKernels {
  int outputs = 0;
  int inputs = 0;
  int taps = 9;
  const std::int32_t* row_begin = nullptr;  // outputs + 1 entries
  const std::int32_t* input = nullptr;
  const float* values = nullptr;

  std::int64_t count() const { return row_begin[outputs]; }
  KernelCounts counts() const { return {outputs, inputs, taps, count()}; }
};

}  // namespace e2enet::kernels
