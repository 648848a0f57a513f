// How the transposed convolution cuts its work and lays out what it stages, fixed by the shape and the vector length.
#pragma once

#include <cstddef>

#include "kernels/transposed_convolution.h"
#include "kernels/weight_rows.h"

namespace e2enet::kernels::transposed {

struct Plan {
  TransposedConvolutionShape shape;
  KernelCounts kernels;
  int lanes = 1;
  int pixels = 1;  // of an item
  int segments = 1;
  int output_groups = 1;       // items of a row = segments * output_groups
  std::ptrdiff_t pitch = 0;    // floats of one staged channel: a segment's lanes, rounded up to whole vectors
  bool interleaved = false;    // taps along depth are written side by side as they leave the registers
  bool integers = false;       // weights are kept as integers
  bool whole_vectors = false;  // no vector crosses a pixel: results go straight to the output

  int taps() const { return shape.stride.depth * shape.stride.height * shape.stride.width; }
  // All three in whole cache lines, so that what follows in the scratch is aligned for any type.
  std::size_t stage_floats() const { return (static_cast<std::size_t>(kernels.inputs * pitch) + 15) / 16 * 16; }
  // The weights of an output as floats again.
  std::size_t weights_floats() const {
    return WeightRows::widened_floats(integers,
                                      static_cast<std::size_t>(kernels.inputs) * static_cast<std::size_t>(taps()));
  }
  // Where results wait to be laid apart: all taps of one output.
  std::size_t buffer_floats() const {
    return whole_vectors ? 0 : (static_cast<std::size_t>(taps() * pitch) + 15) / 16 * 16;
  }
  std::size_t scratch_bytes() const {
    return (stage_floats() + weights_floats() + buffer_floats()) * sizeof(float) +
           static_cast<std::size_t>(pitch / lanes) * sizeof(std::ptrdiff_t) +
           static_cast<std::size_t>(taps()) * sizeof(void*);
  }
};

// `element`: of the output; where it has 16 bits, weights have too.
Plan make_plan(const TransposedConvolutionShape& shape, const KernelCounts& kernels, Element element, int lanes);

}  // namespace e2enet::kernels::transposed
