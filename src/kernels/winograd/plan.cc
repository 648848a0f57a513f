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

}  // namespace

Plan::Plan(const ConvolutionShape& convolution, const KernelCounts& kernels, VectorUnit vector_unit)
    : shape(convolution), unit(vector_unit), channels(kernels.inputs), outputs(kernels.outputs), kept(kernels.kept) {
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
  dense = kernels.density() >= kDenseFrom;

  choose_tiling();
  bands = divide_up(tiles_high, tiling.tile_rows);
  tile_segments = divide_up(tiles_wide, tiling.tiles);
  depth_segments = divide_up(output.depth, tiling.depth_segment);
  lay_out_scratch();
  lay_out_stage();
  lay_out_kernels();
}

// Takes the tiling of least estimated time. The estimate is in cycles of a core that loads one vector and does one
// multiply-add a cycle (Zen 4); only ratios matter.
void Plan::choose_tiling() {
  const int lanes = unit.lanes;
  const Extent& extent = output;
  double least = std::numeric_limits<double>::infinity();

  const auto consider = [&](const Tiling& candidate) {
    const double vectors = candidate.vectors;
    const int pixel_vectors = divide_up(candidate.depth_segment, lanes);
    // Compared with the stride-1 patch of six rows, for which the cycles below were measured.
    const int pixels = step * candidate.tiles + patch - step;
    const int runs = candidate.flat ? 1 : pixels;
    const int run_vectors = candidate.flat ? divide_up(pixels * candidate.depth_segment, lanes) : pixel_vectors;
    const double staged = double(candidate.tile_rows) * runs * run_vectors * patch / Unstrided::kPatch;
    // Cache lines of source pixels: a shifted run of depths touches one more than it has vectors.
    const double lines = staged * (run_vectors * shape.stride.depth + 0.8) / run_vectors;
    double cycles = channels * (16 * staged + 18 * lines + 90 * vectors) + outputs * ((candidate.flat       ? 260
                                                                                       : pixel_vectors == 1 ? 230
                                                                                                            : 165) *
                                                                                      vectors);
    if (dense) {
      const int block = dense_block_outputs(unit.registers, candidate.vectors);
      const double blocks = divide_up(outputs, block);
      // Multiply-adds, or loads where they are more; inputs come from the second-level cache in part.
      cycles += positions * blocks * channels * (std::max(block * vectors, block + vectors) + 0.2 * vectors);
    } else {
      const int candidate_chunks = level1_chunks(channels, candidate.vectors, lanes);
      cycles +=
          positions * (double(kept) * (1.15 * vectors + 0.5) + double(outputs) * candidate_chunks * (2 * vectors + 14) +
                       double(outputs) * (candidate_chunks - 1) * 3 * vectors);
    }
    const double slab_bytes = double(positions + 1) * std::max(channels, outputs) * vectors * lanes * sizeof(float);
    if (slab_bytes > 0.9 * machine::kLevel2Bytes) cycles += double(channels + outputs) * positions * vectors * 2;

    const double items = double(divide_up(tiles_high, candidate.tile_rows)) * divide_up(tiles_wide, candidate.tiles) *
                         divide_up(extent.depth, candidate.depth_segment);
    // All threads should have work.
    const double rounds = std::ceil(items / machine::kThreads) * machine::kThreads;
    if (cycles * rounds < least) {
      least = cycles * rounds;
      tiling = candidate;
    }
  };

  for (int vectors = 1; vectors <= kMaxVectors; ++vectors) {
    for (int tiles = 1; tiles <= std::min(vectors, tiles_wide); ++tiles) {
      if (vectors % tiles != 0) continue;
      Tiling candidate;
      candidate.tiles = tiles;
      candidate.vectors = vectors;
      candidate.depth_segment = vectors / tiles * lanes;
      if (candidate.depth_segment - lanes >= extent.depth) continue;
      // Pooled depths (of 2 or 4) should not cross items, whatever the vector.
      if (candidate.depth_segment % 4 != 0 && candidate.depth_segment < extent.depth) continue;
      consider(candidate);
    }
  }
  for (int tile_rows = 1; tile_rows <= tiles_high; ++tile_rows) {
    // Bands of more rows only where the whole width is an item already.
    for (int tiles = tile_rows > 1 ? tiles_wide : 1; tiles <= tiles_wide; ++tiles) {
      const std::int64_t used = std::int64_t{tile_rows} * tiles * extent.depth;
      if (used > std::int64_t{kMaxVectors} * lanes) break;
      Tiling candidate;
      candidate.flat = true;
      candidate.tile_rows = tile_rows;
      candidate.tiles = tiles;
      candidate.depth_segment = extent.depth;
      candidate.vectors = divide_up(static_cast<int>(used), lanes);
      consider(candidate);
    }
  }
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

  const std::size_t stage_row_floats = (strided ? kStageRowVectors<Strided> : kStageRowVectors<Unstrided>)*lanes;
  // Nothing else keeps the kernels inside a row of the stage.
  if (std::size_t(tiling.tile_rows) * columns() * tiling.depth_segment + lanes > stage_row_floats) {
    throw Error(ErrorCode::internal,
                "a Winograd item: expected at most " + std::to_string(stage_row_floats - lanes) +
                    " floats of a row of its stage, found " +
                    std::to_string(std::size_t(tiling.tile_rows) * columns() * tiling.depth_segment));
  }
  stage_offset = place(patch * stage_row_floats);
  rows_offset = place(2 * rows_read() * sizeof(std::ptrdiff_t) / sizeof(float));
  tile_offset = place(kTile * kTile * item_lanes + lanes);
  pooled_offset = place(kTile * kTile * item_lanes + lanes);
  validity_offset = place(kTile * kTile * item_lanes);
  counts_offset = place(2 * item_lanes);
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
  if (dense) {
    const int block = dense_block_outputs(unit.registers, tiling.vectors);
    position_weights = round_up(
        checked_size("packed kernels of a Winograd convolution", divide_up(outputs, block), channels, block), 16);
    return;
  }
  chunks = std::min(level1_chunks(channels, tiling.vectors, unit.lanes), std::max(channels, 1));
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
