// The kept kernels of a layer and their connectivity, as the model holds them (a view; the model owns the memory).
#pragma once

#include <cstdint>

namespace e2enet::kernels {

// Compressed rows: the kept kernels of output channel o are number row_begin[o] up to row_begin[o + 1], in the order of
// their input channels. Kernel k reads channel input[k], and its taps are values[k * taps ... (k + 1) * taps), ordered
// (height, width) for a convolution and (depth, height, width) for a transposed one.
struct SparseKernels {
  int outputs = 0;
  int inputs = 0;
  int taps = 9;
  const std::int32_t* row_begin = nullptr;  // outputs + 1 entries
  const std::int32_t* input = nullptr;
  const float* values = nullptr;

  std::int64_t count() const { return row_begin[outputs]; }
  double density() const { return outputs && inputs ? double(count()) / (double(outputs) * inputs) : 0.0; }
};

}  // namespace e2enet::kernels
