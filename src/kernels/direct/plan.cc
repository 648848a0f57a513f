#include "kernels/direct/plan.h"

#include <utility>

#include "kernels/machine.h"

namespace e2enet::kernels::direct {
namespace {

// Of the second-level cache the staged inputs may take about half; weights and outputs pass through the rest.
// Processors with less find the remainder in their shared cache.
constexpr std::size_t kStageBytes = 600 << 10;

// Lanes of one item and output channel: the outputs of a register block (6 of them) should stay in the L1 cache until
// their statistics are taken.
constexpr int kItemLanes = 1024;

// Items that a band should have, so that several threads share it.
constexpr int kItemsPerBand = 8;
constexpr int kOutputsPerGroup = 24;  // fewer would not pay for staging the inputs again

void lay_out(Plan* plan) {
  const Stride& stride = plan->shape.stride;
  // Rows between those that the three taps touch are not staged.
  plan->slots_per_row = std::min(stride.height, 3);
  plan->row_slots = (plan->rows - 1) * plan->slots_per_row + 3;
  plan->phases = std::min(stride.width, 3);
  plan->phase_begin.clear();
  plan->phase_pixels.clear();
  int slot_pixels = 0;
  for (int phase = 0; phase < plan->phases; ++phase) {
    const int last_tap = phase + (2 - phase) / stride.width * stride.width;
    plan->phase_begin.push_back(slot_pixels);
    plan->phase_pixels.push_back(plan->pixels + last_tap / stride.width);
    slot_pixels += plan->phase_pixels.back();
  }
  const std::ptrdiff_t depth = plan->output.depth;
  // No padding: where a vector reaches over a slot's end, reading finds lanes that nobody wants, and staging writes
  // what the next slot, staged later, writes over.
  plan->slot_pitch = slot_pixels * depth;
  plan->channel_pitch = plan->slot_pitch * plan->row_slots;
  for (int a = 0; a < 3; ++a) {
    for (int b = 0; b < 3; ++b) {
      plan->tap_offset[a * 3 + b] =
          a * plan->slot_pitch +
          (plan->phase_begin[static_cast<std::size_t>(b % stride.width)] + b / stride.width) * depth;
    }
  }
  plan->row_vectors = static_cast<int>((plan->pixels * depth + plan->lanes - 1) / plan->lanes);
}

std::size_t dense_weights(const Plan& plan) {
  return static_cast<std::size_t>(plan.kernels.outputs) * static_cast<std::size_t>(plan.kernels.inputs) * 9;
}

int register_blocks(int outputs) { return (outputs + Plan::kBlockOutputs - 1) / Plan::kBlockOutputs; }

// Which rows, pixels and outputs an item takes, and the staged layout that follows; without any weights.
Plan cut(const ConvolutionShape& shape, const KernelCounts& kernels, int lanes, int block_vectors) {
  Plan plan;
  plan.shape = shape;
  plan.output = shape.output();
  plan.lanes = lanes;
  plan.dense = kernels.dense();
  plan.kernels = kernels;

  // Rows share what they read with their neighbours only where the stride is below the kernel's height; narrow rows
  // come together until they fill a register block.
  const int wanted_rows = shape.stride.height == 1 ? 4 : 2;
  const int row_lanes = plan.output.width * plan.output.depth;
  const int filling_rows = (block_vectors * lanes + row_lanes - 1) / row_lanes;
  plan.rows = std::min(plan.output.height, std::max(wanted_rows, filling_rows));
  plan.pixels = std::clamp(kItemLanes / (plan.rows * plan.output.depth), 1, plan.output.width);
  lay_out(&plan);
  const auto fills_block = [&](int rows, int pixels) {
    return rows * pixels * plan.output.depth >= block_vectors * lanes;
  };
  while (plan.stage_floats() * sizeof(float) > kStageBytes) {
    const int fewer_rows = (plan.rows + 1) / 2;
    const int fewer_pixels = (plan.pixels + 1) / 2;
    // Pixels first, as long as a row alone fills a block; never less than a block.
    if (plan.pixels > 1 && fills_block(1, fewer_pixels)) {
      plan.pixels = fewer_pixels;
    } else if (plan.rows > 1 && fills_block(fewer_rows, plan.pixels)) {
      plan.rows = fewer_rows;
    } else if (plan.pixels > 1 && fills_block(plan.rows, fewer_pixels)) {
      plan.pixels = fewer_pixels;
    } else {
      break;
    }
    lay_out(&plan);
  }
  plan.segments = (plan.output.width + plan.pixels - 1) / plan.pixels;
  plan.pixels = (plan.output.width + plan.segments - 1) / plan.segments;
  if (plan.segments > 1) {
    // Even cuts, so that pooling in 2 x 2 or 4 x 4 pixels finds its pixels in one item.
    const int even = plan.pixels >= 3 ? 4 : 2;
    if (plan.pixels > 1) plan.pixels = (plan.pixels + even - 1) / even * even;
    plan.segments = (plan.output.width + plan.pixels - 1) / plan.pixels;
  }
  lay_out(&plan);

  const int blocks = register_blocks(kernels.outputs);
  // Blocks as even as can be: 8 outputs are better cut in 4 + 4 than in 6 + 2.
  for (int b = 0; plan.dense && b <= blocks; ++b) {
    plan.block_begin.push_back(static_cast<int>(std::int64_t{kernels.outputs} * b / blocks));
  }
  const int units = plan.dense ? blocks : kernels.outputs;
  plan.output_groups =
      std::clamp(std::min((kItemsPerBand + plan.segments - 1) / plan.segments, kernels.outputs / kOutputsPerGroup), 1,
                 std::max(1, units));
  return plan;
}

}  // namespace

Plan make_plan(const ConvolutionShape& shape, const KernelCounts& kernels, Element element, int lanes,
               int block_vectors) {
  Plan plan = cut(shape, kernels, lanes, block_vectors);
  const std::size_t output_bytes =
      static_cast<std::size_t>(kernels.outputs * plan.output.voxels()) * element_bytes(element);
  plan.stream_output = output_bytes > machine::kLevel3Bytes;
  plan.integers = element == Element::bf16;
  return plan;
}

double staged_pixels(const ConvolutionShape& shape, const KernelCounts& kernels) {
  const Plan plan = cut(shape, kernels, machine::kLanes, 4);
  const std::ptrdiff_t slot_pixels = plan.phase_begin.back() + plan.phase_pixels.back();
  return double(plan.bands()) * plan.segments * plan.output_groups * plan.row_slots * double(slot_pixels);
}

// Weights of dense kernels, in the order in which the register blocks read them:
//  1. block after block;
//  2. in a block, input channel after input channel;
//  3. of a channel, tap after tap (height, width);
//  4. of a tap, one weight for each output of the block, next to each other.
PackedKernels pack(const Plan& plan, const SparseKernels& kernels) {
  PackedKernels packed;
  if (!plan.dense) {
    packed.sparse = std::make_unique<const SparseWeights>(kernels, plan.integers);
    return packed;
  }
  const std::size_t blocks = plan.block_begin.size() - 1;
  auto rows =
      std::make_unique<WeightRows>(plan.integers, dense_weights(plan), static_cast<std::size_t>(kernels.outputs));
  std::vector<float> row;
  for (std::size_t b = 0; b < blocks; ++b) {
    row.clear();
    for (int c = 0; c < kernels.inputs; ++c) {
      for (int t = 0; t < 9; ++t) {
        for (int o = plan.block_begin[b]; o < plan.block_begin[b + 1]; ++o) {
          row.push_back(kernels.values[(std::ptrdiff_t{o} * kernels.inputs + c) * 9 + t]);
        }
      }
    }
    rows->add_row(row.data(), row.size(), plan.block_begin[b + 1] - plan.block_begin[b]);
  }
  packed.dense = std::move(rows);
  return packed;
}

std::size_t packed_bytes(const Plan& plan) {
  if (!plan.dense) return SparseWeights::bytes(plan.kernels, plan.integers);
  return WeightRows::bytes(plan.integers, dense_weights(plan), static_cast<std::size_t>(plan.kernels.outputs));
}

}  // namespace e2enet::kernels::direct
