// The reference kernels against blocks that the original implementation computed.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/elementwise.h"
#include "layers.h"
#include "support/npy.h"
#include "support/paths.h"

using namespace e2enet;
using namespace e2enet::test;

namespace {

struct GoldenBlock {
  const char* name;
  Stride stride{1, 1, 1};
};

// From (1, C, D, H, W) to a feature.
FeatureMemory feature_of(const Array<float>& array) {
  const int channels = static_cast<int>(array.shape[1]);
  const Extent extent{static_cast<int>(array.shape[2]), static_cast<int>(array.shape[3]),
                      static_cast<int>(array.shape[4])};
  FeatureMemory memory(channels, extent, Element::f32);
  std::size_t at = 0;
  for (int c = 0; c < channels; ++c) {
    for (int d = 0; d < extent.depth; ++d) {
      for (int h = 0; h < extent.height; ++h) {
        for (int w = 0; w < extent.width; ++w) memory.set(c, d, h, w, array.values[at++]);
      }
    }
  }
  return memory;
}

std::vector<std::int32_t> all_rows(int outputs, int inputs) {
  std::vector<std::int32_t> rows;
  for (int o = 0; o <= outputs; ++o) rows.push_back(o * inputs);
  return rows;
}

std::vector<std::int32_t> all_inputs(int outputs, int inputs) {
  std::vector<std::int32_t> all;
  for (int o = 0; o < outputs; ++o) {
    for (int c = 0; c < inputs; ++c) all.push_back(c);
  }
  return all;
}

void check_golden_block(const GoldenBlock& block, const ConvolutionFactory& make) {
  const std::string base = std::string("tests/data/ops/") + block.name;
  CAPTURE(base);
  const auto read = [&](const char* part) { return read_npy<float>(source_path(base + "_" + part + ".npy")); };
  const Array<float> weight = read("w"), bias = read("b"), gamma = read("gamma"), beta = read("beta");
  const FeatureMemory input = feature_of(read("x")), expected = feature_of(read("conv")),
                      normed = feature_of(read("y"));
  const int outputs = static_cast<int>(weight.shape[0]), inputs = static_cast<int>(weight.shape[1]);
  const auto rows = all_rows(outputs, inputs), channels = all_inputs(outputs, inputs);
  const SparseKernels kernels{outputs, inputs, 9, rows.data(), channels.data(), weight.values.data()};
  const kernels::ConvolutionShape shape{input.feature().extent, block.stride, 5, {inputs}};
  REQUIRE(shape.output() == expected.feature().extent);
  const auto convolution = make(shape, kernels, Element::f32);
  REQUIRE(convolution != nullptr);
  CAPTURE(convolution->name());

  FeatureMemory output(outputs, shape.output(), Element::f32);
  const kernels::Source source{input.feature(), {}};
  const int slots = convolution->bands() * convolution->slots_per_band();
  std::vector<kernels::PartialStatistics> statistics(static_cast<std::size_t>(slots * outputs));
  std::vector<std::int64_t> voxels;
  AlignedBuffer scratch(convolution->scratch_bytes(), "a test's scratch");
  kernels::ConvolutionArguments arguments;
  arguments.sources = &source;
  arguments.bias = bias.values.data();
  arguments.output = output.feature();
  arguments.statistics = statistics.data();
  for (int band = 0; band < convolution->bands(); ++band) {
    for (int item = 0; item < convolution->items_per_band(); ++item) {
      convolution->run(arguments, band, item, scratch.data());
    }
    for (int slot = 0; slot < convolution->slots_per_band(); ++slot) {
      voxels.push_back(convolution->slot_voxels(band, slot));
    }
  }
  CHECK(difference(output, expected).largest < 1e-5);

  std::vector<float> scale(static_cast<std::size_t>(outputs)), offset(static_cast<std::size_t>(outputs));
  kernels::finish_instance_norm(statistics.data(), voxels.data(), slots, outputs, 0, outputs, gamma.values.data(),
                                beta.values.data(), 1e-5f, scale.data(), offset.data());
  const kernels::Source activated{output.feature(), {scale.data(), offset.data(), 0.01f}};
  std::vector<float> values(static_cast<std::size_t>(outputs * shape.output().voxels()));
  kernels::store_activated_rows(activated, values.data(), 0, shape.output().height);
  double largest = 0;
  std::size_t at = 0;
  for (int c = 0; c < outputs; ++c) {
    for (int d = 0; d < shape.output().depth; ++d) {
      for (int h = 0; h < shape.output().height; ++h) {
        for (int w = 0; w < shape.output().width; ++w) {
          largest = std::max(largest, std::abs(double{values[at++]} - double{normed.get(c, d, h, w)}));
        }
      }
    }
  }
  CHECK(largest < 3e-5);
}

}  // namespace

TEST_CASE("golden blocks: the reference, direct and oneDNN convolutions, their statistics and the norm") {
  for (const GoldenBlock& block :
       {GoldenBlock{"block_c1_3_s111", {1, 1, 1}}, GoldenBlock{"block_c4_6_s222", {2, 2, 2}},
        GoldenBlock{"block_c8_5_s122", {1, 2, 2}}, GoldenBlock{"block_c7_4_s222", {2, 2, 2}},
        GoldenBlock{"block_c10_10_s222", {2, 2, 2}}, GoldenBlock{"block_c48_8_s111", {1, 1, 1}},
        GoldenBlock{"block_c3_2_s222", {2, 2, 2}}}) {
    check_golden_block(block, make_reference_convolution);
    // Where the build has it.
    if (has_kernel("onednn"))
      check_golden_block(block, [](const kernels::ConvolutionShape& shape, const SparseKernels& kept, Element element) {
        return planned_convolution("onednn", shape, kept, element);
      });
    for_each_instruction_set([&](const std::string&) { check_golden_block(block, make_sparse_direct); });
  }
}

TEST_CASE("golden transposed convolutions: the reference") {
  for (const auto& [name, stride] : {std::pair<std::string, Stride>{"up_122", {1, 2, 2}}, {"up_222", {2, 2, 2}}}) {
    const Array<float> weight = read_npy<float>(source_path("tests/data/ops/" + name + "_w.npy"));
    const FeatureMemory input = feature_of(read_npy<float>(source_path("tests/data/ops/" + name + "_x.npy")));
    const FeatureMemory expected = feature_of(read_npy<float>(source_path("tests/data/ops/" + name + "_y.npy")));
    // A checkpoint stores (input, output, taps); the kernels here are ordered by output.
    const int inputs = static_cast<int>(weight.shape[0]), outputs = static_cast<int>(weight.shape[1]);
    const int taps = stride.depth * stride.height * stride.width;
    std::vector<float> values;
    for (int o = 0; o < outputs; ++o) {
      for (int c = 0; c < inputs; ++c) {
        for (int t = 0; t < taps; ++t)
          values.push_back(weight.values[static_cast<std::size_t>((c * outputs + o) * taps + t)]);
      }
    }
    const auto rows = all_rows(outputs, inputs), channels = all_inputs(outputs, inputs);
    const SparseKernels kernels{outputs, inputs, taps, rows.data(), channels.data(), values.data()};
    const auto transposed = planned_transposed("reference", {input.feature().extent, stride}, kernels, Element::f32);
    FeatureMemory output(outputs, expected.feature().extent, Element::f32);
    for (int row = 0; row < input.feature().extent.height; ++row) {
      transposed->run({input.feature(), {}}, output.feature(), row, 0, nullptr);
    }
    CHECK(difference(output, expected).largest < 1e-6);
  }
}

TEST_CASE("golden max pooling") {
  for (const auto& [name, stride] :
       {std::pair<std::string, Stride>{"maxpool_122", {1, 2, 2}}, {"maxpool_222", {2, 2, 2}}}) {
    const FeatureMemory input = feature_of(read_npy<float>(source_path("tests/data/ops/" + name + "_x.npy")));
    const FeatureMemory expected = feature_of(read_npy<float>(source_path("tests/data/ops/" + name + "_y.npy")));
    for_each_instruction_set([&, strided = stride](const std::string& instruction_set) {
      CAPTURE(instruction_set);
      FeatureMemory output(expected.feature().channels, expected.feature().extent, Element::f32);
      kernels::max_pool_rows({input.feature(), {}}, output.feature(), strided, 0, expected.feature().extent.height);
      CHECK(difference(output, expected).largest == 0);
    });
  }
}
