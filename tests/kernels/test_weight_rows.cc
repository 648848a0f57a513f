// Weights that are kept as integers of 16 bits are what floats are, to within half of their output's scale, and so is
// what kernels compute of them.
#include "kernels/weight_rows.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "layers.h"

using namespace e2enet;
using namespace e2enet::test;
using kernels::WeightRows;

TEST_CASE("weight rows: integers hold each output's weights to within half of its own scale") {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (int together : {1, 2, 5, 6}) {
    CAPTURE(together);
    std::vector<float> weights(std::size_t(together) * 63);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      // Outputs of very different sizes lie side by side.
      weights[i] = normal(random) * std::pow(10.0f, float(i % std::size_t(together)));
    }
    WeightRows floats(false, 2 * weights.size(), 2 * std::size_t(together));
    WeightRows rows(true, 2 * weights.size(), 2 * std::size_t(together));
    for (WeightRows* one : {&floats, &rows}) {
      one->add_row(weights.data(), weights.size(), together);
      one->add_row(weights.data(), weights.size(), together);
    }
    CHECK(floats.bytes() == WeightRows::bytes(false, 2 * weights.size(), 2 * std::size_t(together)));
    CHECK(rows.bytes() == WeightRows::bytes(true, 2 * weights.size(), 2 * std::size_t(together)));
    double largest_error = 0, worst = 0;
    std::vector<int> largest(2 * std::size_t(together));
    for (std::size_t i = 0; i < 2 * weights.size(); ++i) {
      const std::size_t output = i / weights.size() * std::size_t(together) + i % std::size_t(together);
      const double scale = rows.scales()[output];
      const double error = std::abs(rows.integers()[i] * scale - double{weights[i % weights.size()]});
      CHECK(floats.floats()[i] == weights[i % weights.size()]);
      worst = std::max(worst, error);
      largest_error = std::max(largest_error, error / scale);
      largest[output] = std::max(largest[output], std::abs(int{rows.integers()[i]}));
    }
    CHECK(worst > 0);
    CHECK(largest_error <= 0.51);
    for (int one : largest) CHECK(one == 32767);
  }
}

TEST_CASE("weight rows: numbers that are tiny, huge, zero or no number") {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values{1e-38f, 3e38f, 0.0f, std::numeric_limits<float>::quiet_NaN(), infinity};
  WeightRows rows(true, 2 * values.size(), values.size());
  for (const float value : values) {
    const float row[] = {value, value > 1 ? -value : value / 2};
    rows.add_row(row, 2);
  }
  for (std::size_t output = 0; output < values.size(); ++output) {
    CAPTURE(output);
    for (std::size_t i = 2 * output; i < 2 * output + 2; ++i) {
      const float found = float(rows.integers()[i]) * rows.scales()[output];
      CHECK(std::isfinite(found) == (output < 3));
      if (output == 1) CHECK(std::abs(std::abs(found) - values[1]) <= 1e-4f * values[1]);
      if (output == 0 || output == 2) CHECK(std::abs(found) <= 1e-30f);
    }
  }
}

// As "Winograd: kernels as integers of 16 bits", whose sums are of as many products: what is lost is a third of what
// storage of bf16 loses at most.
TEST_CASE("weight rows: direct convolutions of kernels as integers") {
  for_each_instruction_set([](const std::string& name) {
    CAPTURE(name);
    std::uint32_t seed = 20;
    for (const Stride& stride : {Stride{1, 1, 1}, Stride{2, 2, 2}, Stride{1, 2, 2}}) {
      for (double density : {0.2, 1.0}) {
        for (int outputs : {1, 5, 9, 12}) {
          ConvolutionCase one;
          one.source_channels = {70, 31};
          one.outputs = outputs;
          one.input = {10, 9, 10};
          one.stride = stride;
          one.density = density;
          one.seed = seed++;
          const auto expected = run_convolution(one, make_reference_convolution, 0, false);
          const auto found = run_convolution(one, [](const auto& shape, const SparseKernels& kernels, Element) {
            return make_sparse_direct(shape, kernels, Element::bf16);
          });
          CAPTURE(one);
          const Difference lost = difference(found.output, expected.output);
          CHECK(lost.root_mean_square > 0);
          CHECK(lost.root_mean_square <= 1e-4);
          CHECK(lost.largest <= 5e-4);
        }
      }
    }
  });
}
