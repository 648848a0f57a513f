// A depth-shift convolution, whatever algorithm computes it: planned from its shape alone, packed from its kernels, run
// as a set of work items.
//
// y[o, d, h, w] = bias[o] + sum over kept (o, c) and taps (a, b) of
//                 kernel[o, c][a][b] * x[c, sd*d - shift(c), sh*h + a - 1, sw*w + b - 1]
//
// x is the concatenation of the sources after their activations; reads outside the patch give 0 (after the activation:
// padding is zero in what the convolution sees, not in what the block before stored). shift(c) = c / ceil(C / groups) -
// groups / 2, over the concatenation's C channels (paper section 3.3, "restricted depth shift").
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/feature.h"
#include "kernels/sparse_kernels.h"

namespace e2enet::kernels {

struct ConvolutionShape {
  Extent input;
  Stride stride{1, 1, 1};
  int groups = 5;
  std::vector<int> source_channels;  // of each part of the concatenation; their sum is KernelCounts::inputs

  Extent output() const {
    return {(input.depth + stride.depth - 1) / stride.depth, (input.height + stride.height - 1) / stride.height,
            (input.width + stride.width - 1) / stride.width};
  }
};

// All that is known of a layer before its kernels' values.
struct ConvolutionProblem {
  ConvolutionShape shape;
  KernelCounts kernels;
  Element element = Element::f32;  // of the output; sources may have another
  // The layer leads to a norm that magnifies rounding: of the algorithms, those that round no more than a plain sum.
  bool exact = false;
  int threads = 1;  // as many may run items at once without waiting for each other
};

// Depth offset of channel c in a concatenation of `channels`: the convolution reads depth d - depth_shift.
inline int depth_shift(int channel, int channels, int groups) {
  return channel / ((channels + groups - 1) / groups) - groups / 2;
}

struct Source {
  Feature feature;
  Activation activation;
};

// Mean and sum of squared deviations from it, of the values of one channel in the voxels of one slot.
struct PartialStatistics {
  float mean = 0;
  float squared_deviations = 0;
};

// Max pooling of the activated output, taken while it is still in registers. The activation comes later and is
// monotone, so the largest activated value is the largest stored one where the norm's weight is >= 0 and the smallest
// elsewhere.
struct PooledOutput {
  Feature feature;                             // data == nullptr: no pooling
  const std::uint8_t* take_minimum = nullptr;  // per output channel
};

// The pooling's stride, which its extents tell: a pooled extent is floor(output / stride), and the plan pools only
// extents that the stride divides.
inline Stride pooling_stride(const Extent& output, const Extent& pooled) {
  return {output.depth / pooled.depth, output.height / pooled.height, output.width / pooled.width};
}

struct ConvolutionArguments {
  const Source* sources = nullptr;  // as many as ConvolutionShape::source_channels
  const float* bias = nullptr;      // per output channel
  Feature output;                   // the bare convolution with bias, before the norm
  PooledOutput pooled;
  // statistics[slot * outputs + o]; slot = ConvolutionPlan::slot_of(band, item). nullptr: not wanted.
  PartialStatistics* statistics = nullptr;
};

// Computes; it does not decide, allocate or start threads. The caller runs every item of every band once, on any thread
// and in any order that the sources' rings and an output in place allow, and gets the same bits.
class Convolution {
 public:
  virtual ~Convolution() = default;
  virtual std::size_t packed_bytes() const = 0;  // that its kernels take; what the plan has said
  virtual void run(const ConvolutionArguments& arguments, int band, int item, void* scratch) const = 0;
};

// Items [begin, end) of a band.
struct ItemRange {
  int begin = 0;
  int end = 0;
};

// Pixels [begin, end) along W.
struct PixelRange {
  int begin = 0;
  int end = 0;
};

// How an algorithm will compute a layer. Decides everything and knows no kernel's value.
class ConvolutionPlan {
 public:
  virtual ~ConvolutionPlan() = default;

  // States type, operation, tile and instruction set: "sparse_winograd4x4_f32_AVX3_ZEN4".
  virtual std::string name() const = 0;

  // Bands are consecutive groups of rows_per_band() output rows (the last may have fewer), from top to bottom.
  virtual int bands() const = 0;
  virtual int rows_per_band() const = 0;
  virtual int items_per_band() const = 0;

  // Output pixels that an item of any band writes, some or all depths and channels of them. It reads those pixels'
  // inputs and their neighbours', a pixel further on either side, and nothing else that matters.
  virtual PixelRange pixels(int item) const = 0;

  // Slots of statistics. Items that write the same voxels of different channels share one, in which each fills the
  // entries of its own channels; every entry of every slot is filled by exactly one item.
  virtual int slots_per_band() const { return items_per_band(); }
  int slot_of(int band, int item) const { return band * slots_per_band() + item % slots_per_band(); }
  // Voxels (of one channel) of a band's slot: the count behind its PartialStatistics.
  virtual std::int64_t slot_voxels(int band, int slot) const = 0;

  // Whether PooledOutput is supported for this pooling stride.
  virtual bool can_pool(Stride stride) const = 0;

  virtual std::size_t packed_bytes() const = 0;   // memory that packing will take
  virtual std::size_t scratch_bytes() const = 0;  // per thread, 64-byte aligned, contents need not survive

  // Packs or copies what it needs of `kernels`, whose counts are the problem's. The plan must outlive the result.
  virtual std::unique_ptr<Convolution> pack(const SparseKernels& kernels) const = 0;
};

// Input rows [first, last) that output rows [row_begin, row_end) of a 3-row convolution read, cut at the patch's
// borders.
struct RowRange {
  int begin = 0;
  int end = 0;
};
inline RowRange rows_read(const ConvolutionShape& shape, int row_begin, int row_end) {
  const int first = row_begin * shape.stride.height - 1;
  const int last = (row_end - 1) * shape.stride.height + 2;
  return {first < 0 ? 0 : first, last > shape.input.height ? shape.input.height : last};
}

}  // namespace e2enet::kernels
