// Winograd convolutions at the shapes of the paper's network (base 48, patch 128^3) and of a small one (base 16, patch
// 40x56x40). "GFLOP/s" counts the kept kernels as a direct sum would compute them; "executed" is what the products of
// the transform domain really do (36 multiply-adds instead of 144 per tile and kernel), the figure to hold against the
// processor's peak; "dense" is the direct work of the same layer without zeros.
#include "layer.h"

using namespace e2enet;
using namespace e2enet::benchmarks;

namespace {

struct Layer {
  std::vector<int> sources;
  int outputs;
  Extent input;
};

const Layer kDense[] = {
    {{48}, 48, {128, 128, 128}}, {{96}, 96, {64, 64, 64}}, {{192}, 192, {32, 32, 32}}, {{320}, 320, {16, 16, 16}},
    {{320}, 320, {8, 8, 8}},     {{16}, 16, {40, 56, 40}}, {{32}, 32, {20, 28, 20}},   {{64}, 64, {10, 14, 10}},
};

const Layer kFusion[] = {
    {{48, 48}, 48, {128, 128, 128}},      {{48}, 48, {128, 128, 128}},
    {{96, 96, 48}, 96, {64, 64, 64}},     {{192, 192, 96}, 192, {32, 32, 32}},
    {{320, 320, 192}, 320, {16, 16, 16}}, {{320, 320, 320}, 320, {8, 8, 8}},
    {{16, 16}, 16, {40, 56, 40}},         {{32, 32, 16}, 32, {20, 28, 20}},
    {{64, 64, 32}, 64, {10, 14, 10}},     {{64}, 64, {5, 7, 5}},
};

// The first blocks of the backbone's levels, with stride 2x2x2.
const Layer kStrided[] = {
    {{48}, 96, {128, 128, 128}}, {{96}, 192, {64, 64, 64}}, {{192}, 320, {32, 32, 32}}, {{320}, 320, {16, 16, 16}},
    {{16}, 32, {40, 56, 40}},    {{32}, 64, {20, 28, 20}},  {{64}, 128, {10, 14, 10}},
};

// The shapes of the single-layer measurements that the design started from.
const Layer kPrototype[] = {
    {{96}, 48, {64, 160, 160}},
    {{240}, 96, {64, 80, 80}},
    {{480}, 192, {32, 40, 40}},
    {{832}, 320, {16, 20, 20}},
};

void run(benchmark::State& state, const Layer& layer, double density, int threads, Element element, Stride pooling) {
  run_convolution(state, test::make_sparse_winograd, layer.sources, layer.outputs, layer.input, {1, 1, 1}, density,
                  threads, element, pooling);
  const int inputs = sum_of(layer.sources);
  const double kept = static_cast<double>(LayerKernels(layer.outputs, inputs, 9, density).view().count());
  const double tiles = double((layer.input.height + 3) / 4) * ((layer.input.width + 3) / 4) * layer.input.depth;
  state.counters["executed"] =
      benchmark::Counter(2e-9 * 36 * kept * tiles, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["dense"] =
      benchmark::Counter(2e-9 * 9 * double(inputs) * layer.outputs * static_cast<double>(layer.input.voxels()),
                         benchmark::Counter::kIsIterationInvariantRate);
}

void add_strided(const Layer& layer, int threads, Element element) {
  benchmark::RegisterBenchmark(
      layer_name("dense_winograd4x4_stride2", layer.sources, layer.outputs, layer.input, 1, threads, element).c_str(),
      [=](benchmark::State& state) {
        run_convolution(state, test::make_sparse_winograd, layer.sources, layer.outputs, layer.input, {2, 2, 2}, 1,
                        threads, element);
      })
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

void add(const char* kernel, const Layer& layer, double density, int threads, Element element,
         Stride pooling = {0, 0, 0}) {
  benchmark::RegisterBenchmark(
      layer_name(kernel, layer.sources, layer.outputs, layer.input, density, threads, element).c_str(),
      [=](benchmark::State& state) { run(state, layer, density, threads, element, pooling); })
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

const int registered = [] {
  for (int threads : {1, 2}) {
    for (const Layer& layer : kDense) add("dense_winograd4x4", layer, 1, threads, Element::f32);
    for (const Layer& layer : kFusion) {
      for (double density : {0.1, 0.2, 0.3}) add("sparse_winograd4x4", layer, density, threads, Element::f32);
    }
    for (const Layer& layer : kPrototype) {
      for (double density : {0.1, 0.2, 0.3}) add("sparse_winograd4x4", layer, density, threads, Element::f32);
    }
    for (const Layer& layer : kStrided) add_strided(layer, threads, Element::f32);
    add("sparse_winograd4x4", kFusion[0], 0.2, threads, Element::bf16);
    add("sparse_winograd4x4_pooled2x2x2", kFusion[0], 0.2, threads, Element::f32, {2, 2, 2});
    add("dense_winograd4x4_pooled2x2x2", kDense[0], 1, threads, Element::f32, {2, 2, 2});
  }
  return 0;
}();

}  // namespace
