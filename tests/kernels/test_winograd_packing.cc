// Packed kernels of the Winograd convolution: as integers of 16 bits they are what floats are, to within half of a
// scale.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/layers.h"
#include "kernels/winograd/packing.h"
#include "kernels/winograd/winograd.h"

namespace {

using namespace e2enet::test;
using e2enet::kernels::Element;
using e2enet::kernels::winograd::pack;
using e2enet::kernels::winograd::PackedKernels;
using e2enet::kernels::winograd::Plan;
using e2enet::kernels::winograd::plan_of;

struct Layer {
  int outputs;
  int inputs;
  double density;
  int stride;
};

// Sparse, dense, dense with blocks that are not full, of more channels than one chunk has, and strided.
const std::vector<Layer> kLayers = {{7, 11, 0.4, 1},  {12, 8, 1, 1},  {13, 5, 1, 1},
                                    {9, 700, 0.3, 1}, {9, 6, 0.5, 2}, {10, 6, 1, 2}};

Plan plan_for(const Layer& layer, const SparseKernels& kernels, Element element) {
  e2enet::kernels::ConvolutionProblem problem;
  problem.shape = {{32, 20, 24}, {layer.stride, layer.stride, layer.stride}, 5, {layer.inputs}};
  problem.kernels = kernels.counts();
  problem.element = element;
  return plan_of(problem);
}

// Calls body(position, weight, row) for every packed kernel: the number of its weight in a position, and of its row.
template <typename Body>
void for_each_weight(const Plan& plan, const PackedKernels& packed, const Body& body) {
  for (int p = 0; p < plan.positions; ++p) {
    if (plan.dense) {
      for (int o = 0; o < plan.outputs; ++o) {
        const int block = plan.block_outputs;
        for (int c = 0; c < plan.channels; ++c) {
          body(p, (std::size_t(o / block) * plan.channels + c) * block + o % block, o);
        }
      }
      continue;
    }
    for (std::size_t r = 0; r < packed.row_output.size(); ++r) {
      for (std::uint32_t k = packed.row_begin[r]; k < packed.row_begin[r + 1]; ++k) body(p, std::size_t{k}, int(r));
    }
  }
}

}  // namespace

TEST_CASE("Winograd: integers of 16 bits hold the kernels to within half of their scale") {
  for_each_instruction_set([](const std::string& name) {
    CAPTURE(name);
    for (std::size_t i = 0; i < kLayers.size(); ++i) {
      CAPTURE(i);
      const Layer& layer = kLayers[i];
      const KernelMemory kernels(layer.outputs, layer.inputs, 9, layer.density, 2000 + std::uint32_t(i));
      const Plan floats_plan = plan_for(layer, kernels.view(), Element::f32);
      const Plan plan = plan_for(layer, kernels.view(), Element::bf16);
      const PackedKernels floats = pack(floats_plan, kernels.view());
      const PackedKernels packed = pack(plan, kernels.view());
      REQUIRE(plan.position_weights == floats_plan.position_weights);
      CHECK(floats.row_begin == packed.row_begin);
      CHECK(2 * packed.weights.size() == floats.weights.size());
      double largest_error = 0, worst = 0;
      int beyond = 0;
      std::vector<int> largest_of_row(packed.row_scale.size());
      for_each_weight(plan, packed, [&](int p, std::size_t k, int row) {
        const int integer = packed.weights_of<std::int16_t>(p)[k];
        const double scale = double{packed.row_scale[std::size_t(row)]} * packed.position_scale[std::size_t(p)];
        const double error = std::abs(integer * scale - floats.weights_of<float>(p)[k]);
        largest_error = std::max(largest_error, error / scale);
        worst = std::max(worst, error);
        beyond += std::abs(integer) > 32767;
        largest_of_row[std::size_t(row)] = std::max(largest_of_row[std::size_t(row)], std::abs(integer));
      });
      CHECK(worst > 0);
      CHECK(largest_error <= 0.51);  // a float has rounded too
      CHECK(beyond == 0);
      for (const float scale : floats.row_scale) CHECK(scale == 1.0f);
      for (const float scale : floats.position_scale) CHECK(scale == 1.0f);
      for (std::size_t r = 0; r < largest_of_row.size(); ++r) {
        if (plan.dense || packed.row_begin[r + 1] > packed.row_begin[r])
          CHECK(largest_of_row[r] == 32767);  // none wasted
      }
    }
  });
}

TEST_CASE("Winograd: integers of kernels that are tiny, huge, zero or no number") {
  const std::int32_t row_begin[] = {0, 1, 2, 3, 3, 4, 5};
  const std::int32_t input[] = {0, 1, 0, 1, 2};
  std::vector<float> values(5 * 9);
  for (int t = 0; t < 9; ++t) {
    values[std::size_t(t)] = 1e-33f * float(t + 1);
    values[9 + std::size_t(t)] = 3e37f * float(t + 1);
    // The third is zero. The last two:
    values[27 + std::size_t(t)] = t == 4 ? std::numeric_limits<float>::quiet_NaN() : 1.0f;
    values[36 + std::size_t(t)] = t == 4 ? std::numeric_limits<float>::infinity() : 1.0f;
  }
  const SparseKernels kernels{6, 3, 9, row_begin, input, values.data()};
  const Plan plan = plan_for({6, 3, 0.3, 1}, kernels, Element::bf16);
  REQUIRE(!plan.dense);
  const PackedKernels packed = pack(plan, kernels);
  const PackedKernels floats = pack(plan_for({6, 3, 0.3, 1}, kernels, Element::f32), kernels);
  for (std::size_t r = 0; r < packed.row_output.size(); ++r) {
    const std::uint32_t o = packed.row_output[r];
    CAPTURE(o);
    for (std::uint32_t k = packed.row_begin[r]; k < packed.row_begin[r + 1]; ++k) {
      for (int p = 0; p < plan.positions; ++p) {
        const float scale = packed.row_scale[r] * packed.position_scale[std::size_t(p)];
        const float found = float(packed.weights_of<std::int16_t>(p)[k]) * scale;
        const float expected = floats.weights_of<float>(p)[k];
        if (o < 3) CHECK(std::abs(found - expected) <= std::max(0.51f * scale, 1e-32f));
        if (o == 1) CHECK(std::isfinite(found));
        if (o > 3) CHECK(!std::isfinite(found));
      }
    }
  }
}
