// How the direct convolution cuts its work and lays out what it stages, fixed by the shape and the vector length; and
// its packed kernels.
//
// An item computes `rows` output rows x `pixels` output pixels x all depths of one group of output channels. It first
// stages what these read of every input channel, activated, shifted, subsampled in depth and padded with zeros:
//
//   [channel][row slot][phase][pixel of the phase][output depth]
//
// Input pixel sw*w + b - 1 of tap b is pixel w + b / sw of phase b % sw, so that for every tap the values behind
// consecutive (output pixel, depth) lanes are consecutive, whatever the strides: a tap is a constant offset. Vectors
// run over these flat lanes, which fills them on levels where the depth is narrower than a vector.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/convolution.h"
#include "kernels/weight_rows.h"

namespace e2enet::kernels::direct {

struct Plan {
  // Of a register block: with 4 vectors (2 where there are 16 registers) they leave room for inputs and a weight.
  static constexpr int kBlockOutputs = 6;
  static_assert(kBlockOutputs <= WeightRows::kMostTogether);

  ConvolutionShape shape;
  KernelCounts kernels;
  Extent output;
  int lanes = 1;  // floats in a vector

  // The cut.
  int rows = 1;
  int pixels = 1;
  int segments = 1;       // of pixels, in a row
  int output_groups = 1;  // of output channels; items_per_band = segments * output_groups

  // The staged layout, in floats.
  int row_slots = 3;
  int slots_per_row = 1;  // from one output row to the next
  int phases = 1;
  std::vector<int> phase_begin;   // in pixels from the slot's begin, one per phase
  std::vector<int> phase_pixels;  // one per phase
  std::ptrdiff_t slot_pitch = 0;
  std::ptrdiff_t channel_pitch = 0;
  std::ptrdiff_t tap_offset[9] = {};
  int row_vectors = 1;  // vectors of one output row of an item

  // Whether outputs go past the caches: they are more than a cache holds until someone reads them.
  bool stream_output = false;

  // Dense kernels: outputs cut into register blocks, block b being outputs [block_begin[b], block_begin[b + 1]).
  bool dense = false;
  std::vector<int> block_begin;

  bool integers = false;  // weights are kept as integers

  int bands() const { return (output.height + rows - 1) / rows; }
  // The last vectors of a tap and of the staging reach over the end, by less than two vectors. Whole cache lines, so
  // that what follows in the scratch is aligned for any type, however short the vectors are.
  std::size_t stage_floats() const {
    return (static_cast<std::size_t>(kernels.inputs * channel_pitch) + 2 * static_cast<std::size_t>(lanes) + 15) / 16 *
           16;
  }
  // The weights of an output, or of a register block, as floats again.
  std::size_t weights_floats() const {
    const std::size_t together = dense ? std::size_t{kBlockOutputs} : 1;
    return WeightRows::widened_floats(integers, together * static_cast<std::size_t>(kernels.inputs) * 9);
  }
  // Results of one output channel of an item: [row][vector].
  std::ptrdiff_t tile_floats() const { return std::ptrdiff_t{rows} * row_vectors * lanes; }
  // The first of the register blocks (dense) or outputs (sparse) of an output group.
  int group_begin(int group) const {
    const int units = dense ? static_cast<int>(block_begin.size()) - 1 : kernels.outputs;
    return static_cast<int>(std::int64_t{units} * group / output_groups);
  }
};

// Lays the layer out for vectors of `lanes` floats, of which a register block has up to `block_vectors`.
Plan make_plan(const ConvolutionShape& shape, const KernelCounts& kernels, Element element, int lanes,
               int block_vectors);

// Pixels, each with all its depths, that the direct convolution prepares of every input channel, counted once for each
// item that does so: what it takes beside its products. For vectors of machine::kLanes floats.
double staged_pixels(const ConvolutionShape& shape, const KernelCounts& kernels);

// A sparse layer's kernels as they are; a dense one's in the order in which its register blocks read them, each block
// being a row. One of both.
struct PackedKernels {
  std::unique_ptr<const SparseWeights> sparse;
  std::unique_ptr<const WeightRows> dense;

  std::size_t bytes() const { return sparse ? sparse->bytes() : dense->bytes(); }
};
PackedKernels pack(const Plan& plan, const SparseKernels& kernels);
std::size_t packed_bytes(const Plan& plan);

}  // namespace e2enet::kernels::direct
