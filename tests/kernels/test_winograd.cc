// The Winograd convolution against the reference, on every instruction set of this machine.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/layers.h"
#include "kernels/winograd/winograd.h"

namespace {

using namespace e2enet::test;

// Largest error over the largest value, f32. F(4x4, 3x3) loses about three bits against a plain sum.
constexpr double kLargest = 1e-5;

void check_everywhere(const std::vector<ConvolutionCase>& cases) {
  for_each_instruction_set([&](const std::string&) {
    for (const ConvolutionCase& one : cases) check_convolution(one, make_sparse_winograd, kLargest);
  });
}

ConvolutionCase layer(std::vector<int> source_channels, int outputs, Extent input, double density, std::uint32_t seed) {
  ConvolutionCase one;
  one.source_channels = std::move(source_channels);
  one.outputs = outputs;
  one.input = input;
  one.density = density;
  one.seed = seed;
  return one;
}

e2enet::kernels::ConvolutionProblem problem_of(const ConvolutionCase& one) {
  const int inputs = std::accumulate(one.source_channels.begin(), one.source_channels.end(), 0);
  e2enet::kernels::ConvolutionProblem problem;
  problem.shape = {one.input, one.stride, one.groups, one.source_channels};
  problem.kernels = KernelMemory(one.outputs, inputs, 9, one.density, one.seed).view().counts();
  return problem;
}

}  // namespace

TEST_CASE("Winograd: every depth fills its lanes correctly") {
  std::vector<ConvolutionCase> cases;
  std::uint32_t seed = 1;
  for (int depth : {1, 2, 3, 4, 5, 8, 13, 16, 17, 20, 31, 32, 40, 48, 100, 128, 131}) {
    cases.push_back(layer({6}, 5, {depth, 9, 10}, 0.5, seed++));
    cases.push_back(layer({6}, 5, {depth, 4, 8}, 1, seed++));
  }
  check_everywhere(cases);
}

TEST_CASE("Winograd: tiles are cut at the borders of any height and width") {
  std::vector<ConvolutionCase> cases;
  std::uint32_t seed = 100;
  for (int height = 1; height <= 9; ++height) {
    for (int width = 1; width <= 9; ++width) {
      cases.push_back(layer({5}, 3, {16, height, width}, 0.6, seed++));
      cases.push_back(layer({5}, 3, {3, height, width}, 1, seed++));
    }
  }
  cases.push_back(layer({3}, 4, {16, 5, 41}, 0.5, seed++));
  cases.push_back(layer({3}, 4, {7, 43, 23}, 0.5, seed++));
  check_everywhere(cases);
}

TEST_CASE("Winograd: any number of channels and groups") {
  std::vector<ConvolutionCase> cases;
  std::uint32_t seed = 300;
  for (int groups : {1, 3, 5, 7, 11}) {
    for (int channels : {1, 2, 3, 4, 5, 11, 24}) {
      ConvolutionCase one = layer({channels}, 4, {channels % 2 ? 16 : 9, 6, 7}, 0.7, seed++);
      one.groups = groups;
      cases.push_back(one);
    }
  }
  for (int outputs : {1, 2, 7, 12, 13, 25}) cases.push_back(layer({9}, outputs, {16, 8, 8}, 1, seed++));
  check_everywhere(cases);
}

TEST_CASE("Winograd: chunks of channels add up") {
  check_everywhere({layer({100, 80, 130}, 6, {16, 8, 16}, 0.2, 400), layer({200, 77}, 17, {5, 5, 7}, 0.3, 401),
                    layer({300}, 8, {8, 8, 8}, 1, 402), layer({320, 192}, 9, {4, 4, 4}, 0.05, 403)});
}

TEST_CASE("Winograd: any density, and outputs and inputs that nothing reads") {
  std::vector<ConvolutionCase> cases;
  std::uint32_t seed = 500;
  for (double density : {0.0, 0.02, 0.1, 0.3, 0.5, 0.8, 0.9, 0.99, 1.0}) {
    cases.push_back(layer({13}, 11, {16, 8, 12}, density, seed++));
    cases.push_back(layer({4, 9}, 11, {6, 7, 9}, density, seed++));
  }
  check_everywhere(cases);
}

TEST_CASE("Winograd: concatenations of sources, from rings, activated or not, with bias or not") {
  for_each_instruction_set([&](const std::string&) {
    std::uint32_t seed = 600;
    for (bool activated : {true, false}) {
      for (bool biased : {true, false}) {
        for (int depth : {8, 16, 40}) {
          ConvolutionCase one = layer({7, 3, 5}, 6, {depth, 21, 10}, 0.4, seed++);
          one.activated = activated;
          one.biased = biased;
          check_convolution(one, make_sparse_winograd, kLargest);
          // The smallest ring that a band allows: its own rows and one on each side.
          const KernelMemory kernels(6, 15, 9, 0.4, one.seed);
          const auto convolution =
              make_sparse_winograd({one.input, {1, 1, 1}, 5, one.source_channels}, kernels.view(), Element::f32);
          one.ring_rows = convolution->rows_per_band() + 2;
          check_convolution(one, make_sparse_winograd, kLargest);
        }
      }
    }
  });
}

TEST_CASE("Winograd: bf16 storage of sources and output") {
  std::vector<ConvolutionCase> cases;
  std::uint32_t seed = 700;
  for (int depth : {1, 5, 8, 16, 20, 32, 37}) {
    for (int which = 1; which <= 3; ++which) {
      ConvolutionCase one = layer({5, 6}, 7, {depth, 10, 9}, 0.5, seed++);
      if (which & 1) one.source_element = Element::bf16;
      if (which & 2) one.output_element = Element::bf16;
      cases.push_back(one);
    }
  }
  for (int stride = 1; stride <= 2; ++stride) {
    for (double density : {0.3, 1.0}) {
      cases.push_back(layer({130, 70}, 17, {16, 9, 10}, density, seed++));
      cases.back().stride = {stride, stride, stride};
      cases.back().output_element = Element::bf16;
    }
  }
  check_everywhere(cases);
}

// bf16 storage keeps kernels as integers of 16 bits. What they lose is seen where the output is not rounded as well: at
// most a third of what storage does, whose root mean square is 1.1e-3.
TEST_CASE("Winograd: kernels as integers of 16 bits") {
  for_each_instruction_set([](const std::string& name) {
    CAPTURE(name);
    std::uint32_t seed = 750;
    for (int stride = 1; stride <= 2; ++stride) {
      for (double density : {0.2, 0.5, 1.0}) {
        for (std::vector<int> channels : {std::vector<int>{5, 6}, std::vector<int>{300, 100, 250}}) {
          ConvolutionCase one = layer(channels, 9, {20, 9, 10}, density, seed++);
          one.stride = {stride, stride, stride};
          const auto expected = run_convolution(one, make_reference_convolution, 0, false);
          const auto found = run_convolution(one, [](const auto& shape, const SparseKernels& kernels, Element) {
            return make_sparse_winograd(shape, kernels, Element::bf16);
          });
          CAPTURE(one);
          const Difference lost = difference(found.output, expected.output);
          CHECK(lost.root_mean_square <= 4e-4);
          CHECK(lost.largest <= 2e-3);
        }
      }
    }
  });
}

TEST_CASE("Winograd: max pooling fused, of rows, pixels and depths") {
  std::vector<ConvolutionCase> cases;
  std::uint32_t seed = 800;
  const Stride strides[] = {{1, 1, 1}, {2, 2, 2}, {1, 2, 2}, {2, 1, 2}, {2, 2, 1}, {1, 4, 4}, {4, 4, 2}, {2, 1, 4}};
  for (const Stride& stride : strides) {
    for (const Extent& extent : {Extent{16, 8, 16}, Extent{32, 12, 20}, Extent{8, 8, 8}, Extent{20, 12, 8},
                                 Extent{4, 4, 4}, Extent{48, 4, 8}}) {
      ConvolutionCase one = layer({6}, 7, extent, 0.5, seed++);
      one.pooling = stride;
      if (seed % 3 == 0) one.output_element = Element::bf16;
      cases.push_back(one);
    }
  }
  check_everywhere(cases);
}

TEST_CASE("Winograd: pooling along depth is refused where it would cross items") {
  const KernelMemory kernels(2, 2, 9, 1, 1);
  const e2enet::kernels::ConvolutionShape shape{{128, 16, 16}, {1, 1, 1}, 5, {2}};
  const auto convolution = make_sparse_winograd(shape, kernels.view(), Element::f32);
  CHECK(convolution->can_pool({2, 2, 2}));
  CHECK_FALSE(convolution->can_pool({1, 3, 1}));
  CHECK_FALSE(convolution->can_pool({1, 1, 3}));
  CHECK_FALSE(convolution->can_pool({1, 8, 1}));
}

TEST_CASE("Winograd: relative root mean square error about 1e-6 at a real channel count") {
  for_each_instruction_set([&](const std::string& name) {
    CAPTURE(name);
    for (double density : {0.2, 1.0}) {
      ConvolutionCase one = layer({48, 48}, 16, {16, 8, 16}, density, 900);
      const ConvolutionResult expected = run_convolution(one, make_reference_convolution, 0, false);
      const ConvolutionResult found = run_convolution(one, make_sparse_winograd);
      CAPTURE(one);
      CHECK(difference(found.output, expected.output).root_mean_square < 2e-6);
      CHECK(difference(found.output, expected.output).largest < kLargest);
    }
    ConvolutionCase strided = layer({96}, 16, {32, 16, 32}, 1, 901);
    strided.stride = {2, 2, 2};
    const ConvolutionResult expected = run_convolution(strided, make_reference_convolution, 0, false);
    const ConvolutionResult found = run_convolution(strided, make_sparse_winograd);
    CHECK(difference(found.output, expected.output).root_mean_square < 2e-6);
  });
}

TEST_CASE("Winograd: statistics survive a mean far above the deviation") {
  // Bare sources around 1000 and kernels of any sign: outputs have large means that differ by channel.
  std::vector<ConvolutionCase> cases;
  for (const Extent& extent : {Extent{16, 12, 16}, Extent{5, 9, 7}, Extent{40, 8, 8}}) {
    ConvolutionCase one = layer({3}, 6, extent, 0.7, 1000);
    one.activated = false;
    one.source_mean = 1000;
    cases.push_back(one);
  }
  check_everywhere(cases);
}

TEST_CASE("Winograd with stride 2: every depth, tile border, channel count, density, source and pooling") {
  std::vector<ConvolutionCase> cases;
  std::uint32_t seed = 1300;
  const auto add = [&](ConvolutionCase one, int depth_stride) {
    one.stride = {depth_stride, 2, 2};
    cases.push_back(one);
  };
  for (int depth : {1, 2, 3, 5, 8, 15, 16, 17, 20, 31, 32, 33, 40, 64, 66, 97}) {
    add(layer({6}, 5, {depth, 17, 18}, 1, seed++), 1);
    add(layer({11}, 5, {depth, 9, 16}, 1, seed++), 2);
    add(layer({7, 4}, 9, {depth, 8, 12}, 0.5, seed++), 2);
  }
  for (int height = 1; height <= 18; ++height) {
    for (int width : {1, 2, 3, 7, 8, 9, 10, 15, 16, 17, 18}) {
      add(layer({5}, 3, {height % 2 ? 32 : 7, height, width}, 1, seed++), 1 + height % 2);
    }
  }
  for (int groups : {1, 3, 7, 11}) {
    ConvolutionCase one = layer({12}, 13, {33, 10, 11}, 1, seed++);
    one.groups = groups;
    add(one, 2);
  }
  for (int which = 1; which <= 3; ++which) {
    ConvolutionCase one = layer({5, 6}, 7, {36, 21, 19}, 0.9, seed++);
    if (which & 1) one.source_element = Element::bf16;
    if (which & 2) one.output_element = Element::bf16;
    one.activated = which != 2;
    one.biased = which != 3;
    add(one, 2);
    add(one, 1);
  }
  for (const Stride& pooling : {Stride{1, 1, 1}, Stride{2, 2, 2}, Stride{1, 2, 2}, Stride{2, 1, 4}}) {
    ConvolutionCase one = layer({6}, 7, {64, 16, 24}, 1, seed++);
    one.pooling = pooling;
    add(one, 2);
  }
  check_everywhere(cases);
}

TEST_CASE("Winograd with stride 2: from the smallest ring that a band allows") {
  for_each_instruction_set([&](const std::string&) {
    for (int depth : {10, 32}) {
      ConvolutionCase one = layer({7, 3, 5}, 6, {depth, 37, 18}, 1, 1600 + std::uint32_t(depth));
      one.stride = {2, 2, 2};
      const KernelMemory kernels(6, 15, 9, 1, one.seed);
      const auto convolution =
          make_sparse_winograd({one.input, one.stride, 5, one.source_channels}, kernels.view(), Element::f32);
      one.ring_rows = 2 * convolution->rows_per_band() + 1;
      check_convolution(one, make_sparse_winograd, kLargest);
    }
  });
}

TEST_CASE("Winograd: strides that it cannot take are refused") {
  const KernelMemory kernels(2, 2, 9, 1, 1);
  for (const Stride& stride : {Stride{2, 1, 1}, Stride{1, 1, 2}, Stride{1, 2, 1}, Stride{3, 3, 3}, Stride{4, 2, 2}}) {
    CHECK(make_sparse_winograd({{16, 16, 16}, stride, 5, {2}}, kernels.view(), Element::f32) == nullptr);
  }
}

TEST_CASE("Winograd: the same bits in any order of items, and from run to run") {
  for_each_instruction_set([&](const std::string& name) {
    CAPTURE(name);
    ConvolutionCase one = layer({12, 9}, 10, {32, 16, 36}, 0.3, 1100);
    const ConvolutionResult first = run_convolution(one, make_sparse_winograd);
    const ConvolutionResult second = run_convolution(one, make_sparse_winograd, 77);
    CHECK(difference(first.output, second.output).largest == 0);
    CHECK(first.mean == second.mean);
    CHECK(first.squared_deviations == second.squared_deviations);
  });
}

// Every tiling that the plan could take, and so every number of vectors, groups of them and blocks of outputs.
TEST_CASE("Winograd: each of its tilings computes the same convolution") {
  std::vector<ConvolutionCase> cases = {layer({6, 5}, 7, {17, 9, 21}, 0.4, 1150), layer({5}, 13, {17, 9, 21}, 1, 1151),
                                        layer({7}, 5, {40, 8, 9}, 0.5, 1152), layer({3}, 7, {128, 4, 9}, 1, 1153),
                                        layer({6}, 5, {23, 13, 18}, 1, 1154)};
  cases.back().stride = {2, 2, 2};
  for_each_instruction_set([&](const std::string& name) {
    CAPTURE(name);
    for (const ConvolutionCase& one : cases) {
      const e2enet::kernels::ConvolutionProblem problem = problem_of(one);
      const auto tilings = e2enet::kernels::winograd::plan_of(problem).tilings();
      CHECK(tilings.size() > 1);
      for (const auto& tiling : tilings) {
        CAPTURE(tiling.flat);
        CAPTURE(tiling.tile_rows);
        CAPTURE(tiling.tiles);
        CAPTURE(tiling.vectors);
        check_convolution(
            one,
            [&](const auto&, const SparseKernels& kernels, Element) {
              return std::make_unique<PlannedConvolution>(e2enet::kernels::winograd::make_tiled(problem, tiling),
                                                          kernels);
            },
            kLargest);
      }
    }
  });
}

// Of each thread: what is chosen for speed must not take what sixteen of them cannot have.
TEST_CASE("Winograd: the widest layers of the paper's network take at most 5 MB of scratch memory") {
  for_each_instruction_set([&](const std::string& name) {
    CAPTURE(name);
    for (const ConvolutionCase& one :
         {layer({192, 192, 96}, 192, {32, 32, 32}, 0.2, 1155), layer({320, 320, 192}, 320, {16, 16, 16}, 0.2, 1156),
          layer({320, 320, 320}, 320, {8, 8, 8}, 0.2, 1157)}) {
      CHECK(e2enet::kernels::winograd::plan_of(problem_of(one)).scratch_floats * sizeof(float) < 5000000);
    }
  });
}

TEST_CASE("Winograd: an output too large for the caches gets the same bits, written past them") {
  Extent extent{64, 9, 16};  // whole and cut items, of 32 depths where vectors have 16 lanes
  SUBCASE("of pixels that are whole items' everywhere") {}
  SUBCASE("of pixels whose depths are cut into items") { extent.depth = 160; }
  const int outputs = 4;
  const KernelMemory kernels(outputs, 3, 9, 0.8, 1200);
  FeatureMemory memory(3, extent, Element::f32);
  std::mt19937 random(1201);
  std::normal_distribution<float> normal;
  for (int h = 0; h < extent.height; ++h) memory.fill_row(h, [&](int, int, int) { return normal(random); });
  e2enet::kernels::Source source;
  source.feature = memory.feature();

  for_each_instruction_set([&](const std::string& name) {
    CAPTURE(name);
    for (Element element : {Element::f32, Element::bf16}) {
      CAPTURE(to_string(element));
      const auto convolution = make_sparse_winograd({extent, {1, 1, 1}, 5, {3}}, kernels.view(), element);
      e2enet::AlignedBuffer scratch(convolution->scratch_bytes(), "a test's scratch");
      check_same_past_caches(outputs, extent, element, [&](const Feature& output) {
        e2enet::kernels::ConvolutionArguments arguments;
        arguments.sources = &source;
        arguments.output = output;
        for (int band = 0; band < convolution->bands(); ++band) {
          for (int item = 0; item < convolution->items_per_band(); ++item) {
            convolution->run(arguments, band, item, scratch.data());
          }
        }
      });
    }
  });
}

TEST_CASE("Winograd: the name states algorithm, element and instruction set") {
  const KernelMemory sparse(4, 4, 9, 0.3, 1);
  const KernelMemory dense(4, 4, 9, 1, 1);
  const e2enet::kernels::ConvolutionShape shape{{16, 8, 8}, {1, 1, 1}, 5, {4}};
  const std::string set = e2enet::simd::available_instruction_sets().front();
  e2enet::simd::use_instruction_set(set);
  CHECK(make_sparse_winograd(shape, sparse.view(), Element::f32)->name() == "sparse_winograd4x4_f32_" + set);
  CHECK(make_sparse_winograd(shape, dense.view(), Element::bf16)->name() == "dense_winograd4x4_bf16_" + set);
}
