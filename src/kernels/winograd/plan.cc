#include "kernels/winograd/plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "base/checked_size.h"
#include "e2enet/error.h"
#include "kernels/machine.h"

namespace e2enet::kernels::winograd {
namespace {

int divide_up(int value, int divisor) { return (value + divisor - 1) / divisor; }
std::size_t round_up(std::size_t value, std::size_t multiple) { return (value + multiple - 1) / multiple * multiple; }

int level1_chunks(int channels, int vectors, int lanes) {
  return std::max(
      1, static_cast<int>(std::ceil(double(channels) * vectors * lanes * sizeof(float) / machine::kLevel1Bytes)));
}

// Groups of an item's vectors, of at most so many that the registers hold their sums.
int product_groups(bool dense, int registers, int vectors) {
  return divide_up(vectors, dense ? dense_group_vectors(registers, vectors) : std::min(vectors, kMaxGroupVectors));
}

}  // namespace

Plan::Plan(const ConvolutionProblem& problem, VectorUnit vector_unit, const Tiling* given)
    : shape(problem.shape),
      unit(vector_unit),
      channels(problem.kernels.inputs),
      outputs(problem.kernels.outputs),
      integers(problem.element == Element::bf16),
      kept(problem.kernels.kept) {
  for (int channel = 0; channel < channels; ++channel) {
    shift.push_back(depth_shift(channel, channels, shape.groups));
  }
  output = shape.output();
  strided = shape.stride.height == 2;
  step = strided ? Strided::kStep : Unstrided::kStep;
  patch = strided ? Strided::kPatch : Unstrided::kPatch;
  positions = patch * patch;
  tiles_high = divide_up(output.height, kTile);
  tiles_wide = divide_up(output.width, kTile);
  dense = problem.kernels.density() >= kDenseFrom;

  tiling = given ? *given : least_tiling();
  bands = divide_up(tiles_high, tiling.tile_rows);
  tile_segments = divide_up(tiles_wide, tiling.tiles);
  depth_segments = divide_up(output.depth, tiling.depth_segment);
  lay_out_kernels();
  lay_out_scratch();
  lay_out_stage();
}

// What an item of a tiling does.
struct Plan::Work {
  double vectors = 0;
  int pixel_vectors = 0;  // of a pixel's depths
  // Vectors of six rows that are staged, the cache lines of source pixels that they touch, and runs of vectors that
  // follow each other. Said of the stride-1 patch of six rows, which cycles were measured for; a larger counts as more.
  double staged = 0;
  double lines = 0;
  double runs = 0;
  // Of the product.
  int groups = 1;
  int blocks = 0;  // dense: of outputs
  int block_outputs = 0;
  int chunks = 1;  // sparse: of channels
  double slab_bytes = 0;
};

Plan::Work Plan::work_of(const Tiling& candidate) const {
  Work work;
  work.vectors = candidate.vectors;
  work.pixel_vectors = divide_up(candidate.depth_segment, unit.lanes);
  const int pixels = step * candidate.tiles + patch - step;
  const int runs = candidate.flat ? 1 : pixels;
  const int run_vectors = candidate.flat ? divide_up(pixels * candidate.depth_segment, unit.lanes) : work.pixel_vectors;
  work.runs = double(candidate.tile_rows) * runs * patch / Unstrided::kPatch;
  work.staged = double(candidate.tile_rows) * runs * run_vectors * patch / Unstrided::kPatch;
  // A shifted run of depths touches one more than it has vectors.
  work.lines = work.staged * (run_vectors * shape.stride.depth + 0.8) / run_vectors;
  work.groups = product_groups(dense, unit.registers, candidate.vectors);
  const int group_vectors = divide_up(candidate.vectors, work.groups);
  if (dense) {
    work.block_outputs = dense_block_outputs(unit.registers, group_vectors);
    work.blocks = divide_up(outputs, work.block_outputs);
  } else {
    work.chunks = level1_chunks(channels, group_vectors, unit.lanes);
  }
  work.slab_bytes = double(positions + 1) * std::max(channels, outputs) * work.vectors * unit.lanes * sizeof(float);
  return work;
}

// Vectors of a whole cache line, on a core that loads one of them and does one multiply-add a cycle (Zen 4).
double Plan::item_cycles_of_long_vectors(const Tiling& candidate) const {
  const Work work = work_of(candidate);
  const double vectors = work.vectors;
  // Of an output and vector. A flat tiling of depths that do not fill vectors costs 260 on Zen 4 too; with 240 it is
  // taken for a dense layer of 16 features, where Zen 4 has a tie and Zen 5 takes 7 to 18% less.
  const double stored = candidate.flat            ? candidate.depth_segment % unit.lanes == 0 ? 260 : 240
                        : work.pixel_vectors == 1 ? 230
                                                  : 165;
  double cycles = channels * (16 * work.staged + 18 * work.lines + 90 * vectors) + outputs * stored * vectors;
  if (dense) {
    const int block = work.block_outputs;
    // Multiply-adds, or loads where they are more; inputs come from the second-level cache in part.
    cycles += positions * double(work.blocks) * channels *
              (std::max(block * vectors, block * work.groups + vectors) + 0.2 * vectors);
  } else {
    cycles += positions * (double(kept) * (1.15 * vectors + 0.5 * work.groups) +
                           double(outputs) * work.chunks * (2 * vectors + 14 * work.groups) +
                           double(outputs) * (work.chunks - 1) * 3 * vectors);
  }
  if (work.slab_bytes > 0.9 * machine::kLevel2Bytes) cycles += double(channels + outputs) * positions * vectors * 2;
  // Every thread has a slab of its own: one this large is for layers that would lose a quarter without it.
  constexpr double kLargeSlabBytes = 5e6;
  return work.slab_bytes > kLargeSlabBytes ? 1.25 * cycles : cycles;
}

// Vectors of a part of a cache line, on a core that loads two of them and does two multiply-adds a cycle, beside
// another that does as much (AVX2 on Zen 3, whose second-level cache has 512 KiB): `benchmark_costs`. Whole pixels in
// one run are what the processor fetches ahead best, and what a slab takes beyond the caches weighs more than a pixel
// that two items stage.
double Plan::item_cycles_of_short_vectors(const Tiling& candidate) const {
  const Work work = work_of(candidate);
  const double vectors = work.vectors;
  constexpr double kSlabBytes = 1.5e6;
  const double position_share = positions / double{Unstrided::kPatch * Unstrided::kPatch};
  double cycles = 9000 +
                  channels * (10 * shape.stride.depth * work.staged + 58 * work.runs + 240 * position_share * vectors) +
                  outputs * (candidate.flat ? 250 : 450) * position_share * vectors;
  if (dense) {
    const int block = work.block_outputs;
    cycles += positions * double(work.blocks) * channels * std::max(block * vectors, block * work.groups + vectors);
  } else {
    cycles += positions * (double(kept) * (vectors + work.groups) +
                           double(outputs) * work.chunks * (2 * vectors + 8 * work.groups));
  }
  if (work.slab_bytes > kSlabBytes) {
    cycles += double(channels + outputs) * positions * vectors * 4 * std::log2(work.slab_bytes / kSlabBytes);
  }
  return cycles;
}

// Only ratios matter.
double Plan::estimated_cycles(const Tiling& candidate) const {
  const double cycles = unit.lanes * sizeof(float) < machine::kCacheLine ? item_cycles_of_short_vectors(candidate)
                                                                         : item_cycles_of_long_vectors(candidate);
  const double items = double(divide_up(tiles_high, candidate.tile_rows)) * divide_up(tiles_wide, candidate.tiles) *
                       divide_up(output.depth, candidate.depth_segment);
  // All threads should have work.
  const double rounds = std::ceil(items / machine::kThreads) * machine::kThreads;
  return cycles * rounds;
}

std::vector<Tiling> Plan::tilings() const {
  const int lanes = unit.lanes;
  const Extent& extent = output;
  std::vector<Tiling> list;
  for (int vectors = 1; vectors <= max_vectors(lanes); ++vectors) {
    for (int tiles = 1; tiles <= std::min(vectors, tiles_wide); ++tiles) {
      if (vectors % tiles != 0) continue;
      Tiling candidate;
      candidate.tiles = tiles;
      candidate.vectors = vectors;
      candidate.depth_segment = vectors / tiles * lanes;
      if (candidate.depth_segment - lanes >= extent.depth) continue;
      // Pooled depths (of 2 or 4) should not cross items, whatever the vector.
      if (candidate.depth_segment % 4 != 0 && candidate.depth_segment < extent.depth) continue;
      list.push_back(candidate);
    }
  }
  for (int tile_rows = 1; tile_rows <= tiles_high; ++tile_rows) {
    // Bands of more rows only where the whole width is an item already.
    for (int tiles = tile_rows > 1 ? tiles_wide : 1; tiles <= tiles_wide; ++tiles) {
      const std::int64_t used = std::int64_t{tile_rows} * tiles * extent.depth;
      if (used > std::int64_t{max_vectors(lanes)} * lanes) break;
      Tiling candidate;
      candidate.flat = true;
      candidate.tile_rows = tile_rows;
      candidate.tiles = tiles;
      candidate.depth_segment = extent.depth;
      candidate.vectors = divide_up(static_cast<int>(used), lanes);
      list.push_back(candidate);
    }
  }
  return list;
}

Tiling Plan::least_tiling() const {
  Tiling least;
  double least_cycles = std::numeric_limits<double>::infinity();
  for (const Tiling& candidate : tilings()) {
    const double cycles = estimated_cycles(candidate);
    if (cycles >= least_cycles) continue;
    least_cycles = cycles;
    least = candidate;
  }
  return least;
}

void Plan::lay_out_scratch() {
  const std::size_t lanes = unit.lanes;
  const std::size_t vectors = tiling.vectors;
  const std::size_t item_lanes = vectors * lanes;

  // Regions follow each other at a distance that spreads the same channel of all positions over the sets of the
  // first-level cache: `vectors` vectors more than a multiple of 4096 bytes.
  const std::size_t page = machine::kPage / sizeof(float);
  const std::size_t used = std::max(channels, outputs) * item_lanes;
  const std::size_t over = item_lanes % page;
  region_stride = round_up(used > over ? used - over : 0, page) + over;

  std::size_t end = round_up((positions + 1) * region_stride, 16);
  const auto place = [&](std::size_t floats) {
    const std::size_t offset = end;
    end += round_up(floats, 16);  // whole cache lines
    return offset;
  };

  const std::size_t stage_row_floats =
      (strided ? stage_row_vectors<Strided>(unit.lanes) : stage_row_vectors<Unstrided>(unit.lanes)) * lanes;
  // Nothing else keeps the kernels inside a row of the stage.
  if (std::size_t(tiling.tile_rows) * columns() * tiling.depth_segment + lanes > stage_row_floats) {
    throw Error(ErrorCode::internal,
                "a Winograd item: expected at most " + std::to_string(stage_row_floats - lanes) +
                    " floats of a row of its stage, found " +
                    std::to_string(std::size_t(tiling.tile_rows) * columns() * tiling.depth_segment));
  }
  constexpr std::size_t kTilePixels = std::size_t{kTile} * kTile;
  stage_offset = place(patch * stage_row_floats);
  rows_offset = place(2 * std::size_t(rows_read()) * sizeof(std::ptrdiff_t) / sizeof(float));
  tile_offset = place(kTilePixels * item_lanes + lanes);
  pooled_offset = place(kTilePixels * item_lanes + lanes);
  validity_offset = place(kTilePixels * item_lanes);
  counts_offset = place(2 * item_lanes);
  if (integers) weights_offset = place(position_weights + kSpareWeights);
  scratch_floats = end;
}

void Plan::lay_out_stage() {
  const int lanes = unit.lanes;
  const int depth = tiling.depth_segment;
  const int used = tiling.tile_rows * tiling.tiles * depth;
  for (int v = 0; v < tiling.vectors; ++v) {
    piece_begin.push_back(static_cast<std::uint32_t>(pieces.size()));
    const int end = std::min((v + 1) * lanes, used);
    for (int lane = v * lanes; lane < end;) {
      const int tile = lane / depth;
      const int pixel = tile / tiling.tiles * columns() + tile % tiling.tiles * step;
      StagePiece piece;
      piece.offset = static_cast<std::uint32_t>(pixel * depth + lane % depth - (lane - v * lanes));
      lane = std::min(end, (tile + 1) * depth);
      piece.end = static_cast<std::uint32_t>(lane - v * lanes);
      pieces.push_back(piece);
    }
  }
  piece_begin.push_back(static_cast<std::uint32_t>(pieces.size()));

  if (!tiling.flat) return;
  least_shift = *std::min_element(shift.begin(), shift.end());
  const int shifts = *std::max_element(shift.begin(), shift.end()) - least_shift + 1;
  row_vectors = divide_up(columns() * depth, lanes);
  depths_inside.assign(shifts * row_vectors, 0);
  for (std::size_t i = 0; i < depths_inside.size(); ++i) {
    for (int lane = 0; lane < lanes; ++lane) {
      const int output_depth = static_cast<int>(i % row_vectors * lanes + lane) % depth;
      const int read = shape.stride.depth * output_depth - (least_shift + static_cast<int>(i / row_vectors));
      if (read >= 0 && read < shape.input.depth) depths_inside[i] |= std::uint64_t{1} << lane;
    }
  }
}

// How many weights packing.h's layouts have.
void Plan::lay_out_kernels() {
  const Work work = work_of(tiling);
  groups = work.groups;
  if (dense) {
    block_outputs = work.block_outputs;
    position_weights =
        round_up(checked_size("packed kernels of a Winograd convolution", work.blocks, channels, block_outputs), 16);
    return;
  }
  chunks = std::min(work.chunks, std::max(channels, 1));
  chunk_channels = divide_up(std::max(channels, 1), chunks);
  chunks = divide_up(std::max(channels, 1), chunk_channels);
  position_weights = round_up(static_cast<std::size_t>(kept), 16);
}

ItemRegion item_region(const Plan& plan, int band, int item) {
  const Extent& extent = plan.output;
  ItemRegion region;
  region.first_tile_row = band * plan.tiling.tile_rows;
  region.first_tile = item / plan.depth_segments * plan.tiling.tiles;
  region.first_depth = item % plan.depth_segments * plan.tiling.depth_segment;
  region.rows = std::min(kTile * plan.tiling.tile_rows, extent.height - kTile * region.first_tile_row);
  region.pixels = std::min(kTile * plan.tiling.tiles, extent.width - kTile * region.first_tile);
  region.depths = std::min(plan.tiling.depth_segment, extent.depth - region.first_depth);
  return region;
}

}  // namespace e2enet::kernels::winograd
