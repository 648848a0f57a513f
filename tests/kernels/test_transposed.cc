// The sparse transposed convolution against the reference on every instruction set.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "layers.h"

using namespace e2enet;
using namespace e2enet::test;

namespace {

struct TransposedCase {
  int inputs = 1;
  int outputs = 1;
  Extent input;
  Stride stride{2, 2, 2};
  double density = 1;
  Element source_element = Element::f32;
  Element output_element = Element::f32;
  bool activated = true;
  int ring_rows = 0;  // of the output
  std::uint32_t seed = 1;
};

std::ostream& operator<<(std::ostream& out, const TransposedCase& one) {
  return out << one.inputs << " -> " << one.outputs << ", input (d,h,w) " << one.input.depth << ' ' << one.input.height
             << ' ' << one.input.width << ", stride " << one.stride.depth << ' ' << one.stride.height << ' '
             << one.stride.width << ", density " << one.density << ", source " << to_string(one.source_element)
             << ", output " << to_string(one.output_element) << (one.activated ? ", activated" : ", bare")
             << ", ring rows " << one.ring_rows << ", seed " << one.seed;
}

void check(const TransposedCase& one) {
  const int taps = one.stride.depth * one.stride.height * one.stride.width;
  const KernelMemory kernels(one.outputs, one.inputs, taps, one.density, one.seed);
  std::mt19937 random(one.seed + 1000);
  std::normal_distribution<float> normal;
  FeatureMemory input(one.inputs, one.input, one.source_element);
  for (int h = 0; h < one.input.height; ++h) input.fill_row(h, [&](int, int, int) { return normal(random); });
  std::vector<float> scale, offset;
  for (int c = 0; c < one.inputs; ++c) {
    scale.push_back(normal(random));
    offset.push_back(normal(random));
  }
  kernels::Source source{input.feature(), {}};
  if (one.activated) source.activation = {scale.data(), offset.data(), 0.01f};
  const Extent extent{one.input.depth * one.stride.depth, one.input.height * one.stride.height,
                      one.input.width * one.stride.width};
  const kernels::TransposedConvolutionShape shape{one.input, one.stride};

  FeatureMemory expected(one.outputs, extent, one.output_element);
  const auto reference = planned_transposed("reference", shape, kernels.view(), one.output_element);
  for (int row = 0; row < one.input.height; ++row) reference->run(source, expected.feature(), row, 0, nullptr);

  for_each_instruction_set([&](const std::string&) {
    const auto transposed = planned_transposed("transposed", shape, kernels.view(), one.output_element);
    CAPTURE(transposed->name());
    CHECK(transposed->packed_bytes() == transposed->planned_bytes());
    CAPTURE(one);
    FeatureMemory found(one.outputs, extent, one.output_element);
    FeatureMemory ring(one.outputs, extent, one.output_element, one.ring_rows);
    const FeatureMemory& target = one.ring_rows > 0 ? ring : found;
    AlignedBuffer scratch(transposed->scratch_bytes(), "a test's scratch");
    for (int row = 0; row < one.input.height; ++row) {
      for (int item = transposed->items_per_row() - 1; item >= 0; --item) {
        std::fill_n(reinterpret_cast<unsigned char*>(scratch.data()), scratch.size(), 0xFF);
        transposed->run(source, target.feature(), row, item, scratch.data());
      }
      if (one.ring_rows == 0) continue;
      for (int h = row * one.stride.height; h < (row + 1) * one.stride.height; ++h) {
        found.fill_row(h, [&](int c, int d, int w) { return ring.get(c, d, h, w); });
      }
    }
    CHECK(difference(found, expected).largest <= (one.output_element == Element::bf16 ? 1.0 / 128 : 2e-6));
  });
}

}  // namespace

TEST_CASE("transposed: every stride up to 3, over depths with tails") {
  std::uint32_t seed = 1;
  for (const Stride& stride :
       {Stride{1, 1, 1}, Stride{1, 2, 2}, Stride{2, 2, 2}, Stride{2, 1, 1}, Stride{2, 2, 1}, Stride{1, 1, 2},
        Stride{3, 2, 1}, Stride{3, 3, 3}, Stride{1, 3, 1}, Stride{2, 3, 3}, Stride{4, 2, 2}, Stride{1, 4, 2}}) {
    for (int depth : {1, 2, 3, 5, 8, 10, 16, 20, 33, 64}) {
      TransposedCase one;
      one.inputs = 7;
      one.outputs = 3;
      one.input = {depth, 3, 5};
      one.stride = stride;
      one.density = 0.6;
      one.seed = seed++;
      check(one);
    }
  }
}

TEST_CASE("transposed: densities from none to all, outputs in groups") {
  for (double density : {0.0, 0.1, 0.5, 1.0}) {
    TransposedCase one;
    one.inputs = 40;
    one.outputs = 100;
    one.input = {4, 2, 6};
    one.density = density;
    check(one);
  }
}

TEST_CASE("transposed: bf16 storage of source, output and both, bare sources, rings of output rows") {
  for (int depth : {5, 16, 32}) {
    for (const Stride& stride : {Stride{2, 2, 2}, Stride{1, 2, 2}, Stride{3, 1, 2}}) {
      TransposedCase one;
      one.inputs = 9;
      one.outputs = 4;
      one.input = {depth, 5, 7};
      one.stride = stride;
      one.density = 0.5;
      one.source_element = Element::bf16;
      check(one);
      one.output_element = Element::bf16;
      check(one);
      one.activated = false;
      one.source_element = Element::f32;
      check(one);
      one.ring_rows = 3;
      check(one);
    }
  }
}

TEST_CASE("transposed: a row wider than an item, and inputs beyond the stage's budget") {
  TransposedCase one;
  one.inputs = 6;
  one.outputs = 2;
  one.input = {16, 2, 61};
  check(one);
  one.inputs = 400;
  one.input = {24, 1, 40};
  one.density = 0.1;
  check(one);
}

TEST_CASE("transposed: a single voxel") {
  TransposedCase one;
  one.input = {1, 1, 1};
  check(one);
}

TEST_CASE("transposed: an output too large for the caches gets the same bits, written past them") {
  const Extent input{32, 3, 5};
  const int outputs = 4;
  const KernelMemory kernels(outputs, 3, 8, 0.8, 1200);
  FeatureMemory memory(3, input, Element::f32);
  std::mt19937 random(1201);
  std::normal_distribution<float> normal;
  for (int h = 0; h < input.height; ++h) memory.fill_row(h, [&](int, int, int) { return normal(random); });
  const kernels::Source source{memory.feature(), {}};

  for_each_instruction_set([&](const std::string& name) {
    CAPTURE(name);
    for (Element element : {Element::f32, Element::bf16}) {
      CAPTURE(to_string(element));
      const auto transposed = planned_transposed("transposed", {input, {2, 2, 2}}, kernels.view(), element);
      AlignedBuffer scratch(transposed->scratch_bytes(), "a test's scratch");
      check_same_past_caches(outputs, {64, 6, 10}, element, [&](const Feature& output) {
        for (int row = 0; row < input.height; ++row) {
          for (int item = 0; item < transposed->items_per_row(); ++item) {
            transposed->run(source, output, row, item, scratch.data());
          }
        }
      });
    }
  });
}
