// The upward flow: a sparse transposed convolution with kernel = stride and no bias.
//
// y[o, sd*d + a, sh*h + b, sw*w + e] = sum over kept (o, c) of kernel[o, c][a][b][e] * x[c, d, h, w]
//
// Each output voxel reads one input voxel per kept kernel, so rows can be made when a consumer needs them.
#pragma once

#include <memory>
#include <string>

#include "kernels/convolution.h"

namespace e2enet::kernels {

struct TransposedConvolutionShape {
  Extent input;
  Stride stride{1, 1, 1};  // the output's extent is input * stride
};

struct TransposedConvolutionProblem {
  TransposedConvolutionShape shape;
  KernelCounts kernels;
  Element element = Element::f32;  // of the output
};

class TransposedConvolution {
 public:
  virtual ~TransposedConvolution() = default;
  virtual std::size_t packed_bytes() const = 0;
  // Writes output rows [input_row * stride.height, (input_row + 1) * stride.height): all channels over all items.
  virtual void run(const Source& source, const Feature& output, int input_row, int item, void* scratch) const = 0;
};

class TransposedConvolutionPlan {
 public:
  virtual ~TransposedConvolutionPlan() = default;
  virtual std::string name() const = 0;
  virtual int items_per_row() const = 0;          // work items for one input row, that is for stride.height output rows
  virtual PixelRange pixels(int item) const = 0;  // output pixels that an item writes, some or all channels of them
  virtual std::size_t packed_bytes() const = 0;
  virtual std::size_t scratch_bytes() const = 0;
  // The plan must outlive the result.
  virtual std::unique_ptr<TransposedConvolution> pack(const SparseKernels& kernels) const = 0;
};

}  // namespace e2enet::kernels
