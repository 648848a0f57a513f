// Dense convolutions through oneDNN against the reference.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "layers.h"
#include "support/skip.h"

using namespace e2enet;
using namespace e2enet::test;

namespace {

// Two threads at once: the others of a test with more wait.
std::unique_ptr<PlannedConvolution> make_dense_onednn(const kernels::ConvolutionShape& shape,
                                                      const SparseKernels& kernels, Element element) {
  return planned_convolution("onednn", shape, kernels, element, 2);
}

void check(const ConvolutionCase& one) { check_convolution(one, make_dense_onednn, 3e-6); }

}  // namespace

TEST_CASE("oneDNN: odd extents, depth blocks with tails, strides up to 3") {
  if (!has_kernel("onednn")) E2ENET_SKIP("this build has no oneDNN");
  for (int depth : {1, 2, 3, 5, 16, 17, 33, 40}) {
    for (const Stride& stride : {Stride{1, 1, 1}, Stride{2, 2, 2}, Stride{1, 2, 2}, Stride{3, 1, 2}}) {
      ConvolutionCase one;
      one.source_channels = {4, 7};
      one.outputs = 9;
      one.input = {depth, 7, 11};
      one.stride = stride;
      check(one);
    }
  }
}

TEST_CASE("oneDNN: a single voxel and fewer channels than shift groups") {
  if (!has_kernel("onednn")) E2ENET_SKIP("this build has no oneDNN");
  for (int channels : {1, 2, 3, 4, 6}) {
    ConvolutionCase one;
    one.source_channels = {channels};
    one.outputs = 3;
    one.input = {1, 1, 1};
    check(one);
    one.input = {5, 4, 3};
    check(one);
  }
}

TEST_CASE("oneDNN: a row cut in segments, rings of rows, bf16, no bias, bare sources") {
  if (!has_kernel("onednn")) E2ENET_SKIP("this build has no oneDNN");
  ConvolutionCase one;
  one.source_channels = {40, 24};
  one.outputs = 32;
  one.input = {20, 9, 45};
  one.ring_rows = 1;
  check(one);
  one.source_element = Element::bf16;
  one.output_element = Element::bf16;
  one.biased = false;
  one.activated = false;
  check(one);
}

TEST_CASE("oneDNN: statistics hold where the mean is a thousand standard deviations away") {
  if (!has_kernel("onednn")) E2ENET_SKIP("this build has no oneDNN");
  ConvolutionCase one;
  one.source_channels = {3};
  one.outputs = 4;
  one.input = {16, 12, 12};
  one.activated = false;
  one.source_mean = 1000;
  check(one);
}

TEST_CASE("oneDNN: items run by several threads at once give the bits of one thread") {
  if (!has_kernel("onednn")) E2ENET_SKIP("this build has no oneDNN");
  const KernelMemory kernel_memory(16, 12, 9, 1, 3);
  const kernels::ConvolutionShape shape{{40, 12, 30}, {1, 1, 1}, 5, {12}};
  const auto convolution = make_dense_onednn(shape, kernel_memory.view(), Element::f32);
  REQUIRE(convolution != nullptr);
  FeatureMemory input(12, shape.input, Element::f32);
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  for (int h = 0; h < shape.input.height; ++h) input.fill_row(h, [&](int, int, int) { return normal(random); });
  const kernels::Source source{input.feature(), {}};
  const auto run = [&](int threads) {
    FeatureMemory output(16, shape.output(), Element::f32);
    kernels::ConvolutionArguments arguments;
    arguments.sources = &source;
    arguments.output = output.feature();
    const int items = convolution->items_per_band();
    std::atomic<int> next{0};
    std::vector<std::thread> team;
    for (int thread = 0; thread < threads; ++thread) {
      team.emplace_back([&] {
        AlignedBuffer scratch(convolution->scratch_bytes(), "a test's scratch");
        for (int i = next++; i < convolution->bands() * items; i = next++) {
          convolution->run(arguments, i / items, i % items, scratch.data());
        }
      });
    }
    for (std::thread& member : team) member.join();
    return output;
  };
  CHECK(difference(run(4), run(1)).largest == 0);
}

TEST_CASE("oneDNN: a layer with absent kernels is refused") {
  if (!has_kernel("onednn")) E2ENET_SKIP("this build has no oneDNN");
  const KernelMemory kernel_memory(4, 4, 9, 0.5, 3);
  CHECK(make_dense_onednn({{4, 4, 4}, {1, 1, 1}, 5, {4}}, kernel_memory.view(), Element::f32) == nullptr);
}
