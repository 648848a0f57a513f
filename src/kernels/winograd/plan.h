// What the Winograd convolution decides once: how lanes cover the output and where everything lies.
//
// F(4x4, 3x3): an output tile of 4x4 pixels (h, w) is computed from 6x6 input pixels through 36 "positions",
//   Y = A^T [ sum over c of (G g G^T) * (B^T d B) ] A,
// where a dropped kernel g = 0 drops out at every position, so 36 sparse products share one index list.
//
// With stride 2 along H and W, an output along one axis is w0 x[2i-1] + w1 x[2i] + w2 x[2i+1]: two taps over the odd
// samples, which F(4, 2) computes in 5 multiplications for 4 outputs, and one tap over the even ones, in 4. A tile is
// computed from 9x9 input pixels through 81 positions: 5 multiplications an output and channel instead of 9.
//
// A band is `tile_rows` rows of tiles. An item is a part of a band: `tiles` tiles along W times `depth_segment` depths.
// Its lanes are numbered (tile row, tile, depth), depth fastest, and fill `vectors` vectors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/convolution.h"
#include "kernels/winograd/matrices.h"

namespace e2enet::kernels::winograd {

// Lanes of an item: so many that its transforms pay, and no more, since its slab should lie in the second-level cache.
constexpr int kMaxLanes = 128;
constexpr int max_vectors(int lanes) { return kMaxLanes / lanes < 32 ? kMaxLanes / lanes : 32; }

// Vectors of an item that a product takes at once, each with a sum in a register.
constexpr int kMaxGroupVectors = 8;

// Packed weights that a product may fetch beyond the last of a position, and never uses.
constexpr std::size_t kSpareWeights = 16;

// Above this density computing the dropped kernels too costs less than skipping them: the dense product is bound by
// multiply-adds, the sparse one by the load that each multiply-add needs.
constexpr double kDenseFrom = 0.85;

// A row of the stage: at most a patch of pixels for each lane, and a vector to spill into. An odd number keeps rows
// from sharing cache sets.
template <typename Form>
constexpr int stage_row_vectors(int lanes) {
  return (Form::kPatch * max_vectors(lanes) + 1) | 1;
}

// What the plan must know about an instruction set.
struct VectorUnit {
  int lanes = 0;      // floats of a vector
  int registers = 0;  // vector registers
};

// Outputs that the dense product computes at once: as many as leave registers for an input's vectors and one weight.
constexpr int dense_block_outputs(int registers, int vectors) {
  const int outputs = (registers - 1 - vectors) / vectors;
  return outputs < 1 ? 1 : outputs > 12 ? 12 : outputs;
}

// Vectors of a dense product's group. Of sixteen registers three and four outputs take twelve, which hides the latency
// of a multiply-add, with the fewest loads; of 32 an item of at most eight vectors is one group, and longer ones are
// cut into four, with six outputs.
constexpr int dense_group_vectors(int registers, int vectors) {
  if (registers < 32) return vectors < 3 ? vectors : 3;
  return vectors <= kMaxGroupVectors ? vectors : 4;
}

// Lanes of a vector, those before `end` that no piece before takes, in the stage: lane i at `offset` + i.
struct StagePiece {
  std::uint32_t offset = 0;  // in floats
  std::uint32_t end = 0;
};

struct Tiling {
  // true: a lane index runs over whole pixels of any depth (depth_segment = D), so narrow depths fill their vectors.
  // false: depth_segment is a multiple of the vector, and each vector lies within one pixel.
  bool flat = false;
  int tile_rows = 1;      // of a band; more than 1 only where flat
  int tiles = 1;          // of an item along W
  int depth_segment = 1;  // depths of an item
  int vectors = 1;        // of an item
};

struct Plan {
  // `given`: a tiling of tilings() instead of the one of least estimated time, to measure it.
  Plan(const ConvolutionProblem& problem, VectorUnit vector_unit, const Tiling* given = nullptr);

  std::vector<Tiling> tilings() const;                  // all that are possible
  double estimated_cycles(const Tiling& tiling) const;  // of the whole layer

  ConvolutionShape shape;
  Extent output;
  bool strided = false;  // along H and W
  int step = 0;          // kStep and kPatch of the form
  int patch = 0;
  int positions = 0;
  VectorUnit unit;
  int channels = 0;
  int outputs = 0;
  std::vector<int> shift;  // of each input channel: depth d of what the convolution sees is depth d - shift

  Tiling tiling;
  int tiles_high = 0;  // of the whole output
  int tiles_wide = 0;
  int bands = 0;
  int tile_segments = 0;  // items of a band = tile_segments * depth_segments, depth segments fastest
  int depth_segments = 0;

  // The scratch memory of an item, in floats from its beginning.
  // Slab: region p holds the transformed inputs of position p - 1 as [channel][vectors] and, once those are consumed,
  // the products of position p as [output][vectors].
  std::size_t region_stride = 0;
  // Stage: input pixels of one channel, transformed along H, as [transformed row][tile row][pixel column][depth].
  std::size_t stage_offset = 0;
  // Where the lanes of vector v find the first pixel of their tiles' patches: pieces piece_begin[v] to piece_begin[v +
  // 1], each tile's lanes being a piece. The next pixel is depth_segment further.
  std::vector<StagePiece> pieces;
  std::vector<std::uint32_t> piece_begin;
  // Flat only: which lanes of the vectors that cover the pixels of a row read a depth inside the patch, a bit a lane,
  // as [shift - least_shift][vector].
  std::vector<std::uint64_t> depths_inside;
  std::size_t row_vectors = 0;  // of depths_inside
  int least_shift = 0;
  std::size_t rows_offset = 0;      // two tables of where the rows of a source begin, as std::ptrdiff_t
  std::size_t tile_offset = 0;      // finished output tiles as [pixel of the tile][lane], before they are cut into rows
  std::size_t pooled_offset = 0;    // the same for pooled pixels
  std::size_t validity_offset = 0;  // 1 where a lane's pixel is inside the output, as [pixel of the tile][lane]
  std::size_t counts_offset = 0;    // valid pixels per lane, then the reciprocals
  std::size_t weights_offset = 0;   // of integers: those of one position as floats
  std::size_t scratch_floats = 0;

  // Of the packed kernels (packing.h).
  bool dense = false;      // all (or nearly all) kernels are kept: a dense product wins
  bool integers = false;   // of 16 bits, with a scale for each row; else floats
  std::int64_t kept = 0;   // kernels
  int chunk_channels = 0;  // sparse product: input channels of a chunk, whose vectors fit the first-level cache
  int chunks = 1;
  int groups = 1;         // of an item's vectors, as even as can be, for each of which a product runs by itself
  int block_outputs = 0;  // dense product: outputs of a block
  std::size_t position_weights = 0;  // packed weights of one position

  int columns() const { return step * tiling.tiles + patch - step; }  // input pixels of an item along W
  const std::uint64_t* depths_inside_of(int channel) const {
    return depths_inside.data() + std::size_t(shift[channel] - least_shift) * row_vectors;
  }
  int rows_read() const { return step * tiling.tile_rows + patch - step; }  // and along H

  int items_per_band() const { return tile_segments * depth_segments; }

 private:
  struct Work;
  Work work_of(const Tiling& tiling) const;
  double item_cycles_of_long_vectors(const Tiling& tiling) const;
  double item_cycles_of_short_vectors(const Tiling& tiling) const;
  Tiling least_tiling() const;
  void lay_out_scratch();
  void lay_out_stage();
  void lay_out_kernels();
};

// The part of the output that an item writes.
struct ItemRegion {
  int first_tile_row = 0;
  int first_tile = 0;
  int first_depth = 0;
  int rows = 0;    // output rows, cut at the border
  int pixels = 0;  // along W, cut at the border
  int depths = 0;  // cut at the border

  std::int64_t voxels() const { return std::int64_t{rows} * pixels * depths; }
};
ItemRegion item_region(const Plan& plan, int band, int item);

}  // namespace e2enet::kernels::winograd
