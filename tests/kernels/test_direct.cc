// The direct convolution, sparse and dense, against the reference on every instruction set.
#include <doctest/doctest.h>

#include <vector>

#include "layers.h"

using namespace e2enet;
using namespace e2enet::test;

namespace {

constexpr double kTolerance = 3e-6;  // of the largest value; sums of up to some thousand products in float

void check(const ConvolutionCase& one) {
  for_each_instruction_set([&](const std::string&) { check_convolution(one, make_sparse_direct, kTolerance); });
}

ConvolutionCase make_case(std::vector<int> source_channels, int outputs, Extent input, Stride stride = {1, 1, 1}) {
  ConvolutionCase one;
  one.source_channels = std::move(source_channels);
  one.outputs = outputs;
  one.input = input;
  one.stride = stride;
  return one;
}

}  // namespace

TEST_CASE("direct: every depth from 1 to 20, with tails, at strides 1 and 2") {
  std::uint32_t seed = 1;
  for (int depth : {1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 20}) {
    for (const Stride& stride : {Stride{1, 1, 1}, Stride{2, 2, 2}, Stride{1, 2, 2}, Stride{2, 1, 1}}) {
      ConvolutionCase one = make_case({7}, 5, {depth, 6, 7}, stride);
      one.seed = seed++;
      check(one);
      one.density = 0.4;
      check(one);
    }
  }
}

TEST_CASE("direct: depths of many vectors") {
  for (int depth : {31, 33, 40, 64, 65, 128}) {
    ConvolutionCase one = make_case({6}, 7, {depth, 5, 6});
    check(one);
    one.stride = {2, 2, 2};
    check(one);
    one.density = 0.3;
    check(one);
  }
}

TEST_CASE("direct: a patch of any extent, down to a single voxel") {
  for (const Extent& extent : {Extent{1, 1, 1}, Extent{2, 1, 3}, Extent{1, 3, 1}, Extent{3, 2, 2}, Extent{5, 9, 1},
                               Extent{4, 1, 17}, Extent{6, 13, 33}}) {
    for (const Stride& stride : {Stride{1, 1, 1}, Stride{2, 2, 2}}) {
      ConvolutionCase one = make_case({5}, 3, extent, stride);
      check(one);
      one.density = 0.5;
      check(one);
    }
  }
}

TEST_CASE("direct: strides of up to 5 on each axis") {
  for (const Stride& stride : {Stride{3, 1, 1}, Stride{1, 3, 1}, Stride{1, 1, 3}, Stride{3, 3, 3}, Stride{1, 2, 3},
                               Stride{4, 4, 4}, Stride{2, 5, 4}, Stride{5, 1, 2}, Stride{2, 2, 1}, Stride{1, 1, 2}}) {
    ConvolutionCase one = make_case({6}, 4, {11, 13, 14}, stride);
    check(one);
    one.density = 0.5;
    check(one);
  }
}

TEST_CASE("direct: fewer channels than shift groups, and group counts 1, 3, 5, 7, 11") {
  for (int channels : {1, 2, 3, 4, 6, 11}) {
    for (int groups : {1, 3, 5, 7, 11}) {
      ConvolutionCase one = make_case({channels}, 3, {6, 4, 5});
      one.groups = groups;
      check(one);
      one.stride = {2, 2, 2};
      check(one);
    }
  }
}

TEST_CASE("direct: a shift longer than the depth reads zeros only") {
  ConvolutionCase one = make_case({22}, 3, {2, 4, 4});
  one.groups = 11;
  check(one);
  one.stride = {2, 1, 1};
  check(one);
}

TEST_CASE("direct: concatenations with the shift's borders inside their parts, in rings of rows") {
  for (double density : {0.0, 0.1, 0.5, 0.97, 1.0}) {
    ConvolutionCase one = make_case({5, 7, 3}, 6, {8, 21, 9});
    one.density = density;
    one.ring_rows = 7;
    check(one);
    one.stride = {2, 2, 2};
    check(one);
  }
}

TEST_CASE("direct: register blocks of every size") {
  for (int outputs = 1; outputs <= 14; ++outputs) check(make_case({4}, outputs, {8, 5, 8}));
}

TEST_CASE("direct: outputs in several groups of items") {
  for (double density : {0.3, 1.0}) {
    ConvolutionCase one = make_case({20}, 100, {4, 5, 6});
    one.density = density;
    check(one);
  }
}

TEST_CASE("direct: inputs that do not fit the stage's budget at once") {
  ConvolutionCase one = make_case({300, 100}, 7, {16, 9, 12});
  one.density = 0.2;
  check(one);
  one.stride = {2, 2, 2};
  one.density = 1;
  check(one);
}

TEST_CASE("direct: bf16 storage of sources, of outputs and of both; bare sources; no bias") {
  for (double density : {0.4, 1.0}) {
    ConvolutionCase one = make_case({6, 3}, 5, {13, 6, 7}, {1, 2, 1});
    one.density = density;
    one.source_element = Element::bf16;
    check(one);
    one.output_element = Element::bf16;
    check(one);
    one.source_element = Element::f32;
    one.activated = false;
    one.biased = false;
    check(one);
    one.stride = {2, 2, 2};
    one.input = {32, 6, 7};
    one.source_element = Element::bf16;
    check(one);
  }
}

TEST_CASE("direct: fused pooling, largest and smallest") {
  for (const Stride& pooling :
       {Stride{2, 2, 2}, Stride{1, 2, 2}, Stride{2, 1, 1}, Stride{1, 1, 1}, Stride{3, 2, 2}, Stride{4, 4, 1}}) {
    for (Element element : {Element::f32, Element::bf16}) {
      ConvolutionCase one = make_case({5}, 6, {12, 8, 8});
      one.pooling = pooling;
      one.output_element = element;
      check(one);
      one.density = 0.5;
      one.input = {36, 8, 20};
      check(one);
    }
  }
}

TEST_CASE("direct: statistics hold where the mean is a thousand standard deviations away") {
  ConvolutionCase one = make_case({3}, 4, {16, 12, 12});
  one.activated = false;
  one.source_mean = 1000;
  one.density = 1;
  // Borders see zero padding: the deviations there are large, those of the interior small; both must come out.
  check(one);
}

TEST_CASE("direct: the same bits whatever the order of items") {
  ConvolutionCase one = make_case({20}, 60, {16, 9, 70});
  for (double density : {0.3, 1.0}) {
    one.density = density;
    const ConvolutionResult first = run_convolution(one, make_sparse_direct);
    const ConvolutionResult second = run_convolution(one, make_sparse_direct, 7);
    CHECK(difference(first.output, second.output).largest == 0);
    CHECK(first.mean == second.mean);
    CHECK(first.squared_deviations == second.squared_deviations);
  }
}
