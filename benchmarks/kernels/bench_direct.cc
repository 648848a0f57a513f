// Direct convolutions at the shapes of the paper's network (base 48, patch 128^3) and of a small one (base 16,
// 40x56x40).
#include "layer.h"

using namespace e2enet;
using namespace e2enet::benchmarks;

namespace {

struct Layer {
  std::vector<int> sources;
  int outputs;
  Extent input;
  Stride stride;
};

const Layer kStrided[] = {
    {{1}, 48, {128, 128, 128}, {1, 1, 1}},  {{48}, 96, {128, 128, 128}, {2, 2, 2}},
    {{96}, 192, {64, 64, 64}, {2, 2, 2}},   {{192}, 320, {32, 32, 32}, {2, 2, 2}},
    {{320}, 320, {16, 16, 16}, {2, 2, 2}},  {{320}, 320, {8, 8, 8}, {2, 2, 2}},
    {{320}, 320, {4, 4, 4}, {1, 1, 1}},     {{320}, 320, {8, 8, 8}, {1, 1, 1}},
    {{1}, 16, {40, 56, 40}, {1, 1, 1}},     {{16}, 32, {40, 56, 40}, {2, 2, 2}},
    {{32}, 64, {20, 28, 20}, {2, 2, 2}},    {{64}, 128, {10, 14, 10}, {2, 2, 2}},
    {{48}, 48, {128, 128, 128}, {1, 1, 1}},
};

const Layer kFusion[] = {
    {{48, 48}, 48, {128, 128, 128}, {1, 1, 1}},     {{96, 96, 48}, 96, {64, 64, 64}, {1, 1, 1}},
    {{192, 192, 96}, 192, {32, 32, 32}, {1, 1, 1}}, {{320, 320, 192}, 320, {16, 16, 16}, {1, 1, 1}},
    {{320, 320, 320}, 320, {8, 8, 8}, {1, 1, 1}},   {{64, 64, 32}, 64, {10, 14, 10}, {1, 1, 1}},
};

const int registered = [] {
  for (int threads : {1, 2}) {
    for (const Layer& layer : kStrided) {
      for (Element element : {Element::f32, Element::bf16}) {
        benchmark::RegisterBenchmark(
            (layer_name("dense_direct", layer.sources, layer.outputs, layer.input, 1, threads, element) +
             "/stride:" + std::to_string(layer.stride.depth))
                .c_str(),
            [=](benchmark::State& state) {
              run_convolution(state, test::make_sparse_direct, layer.sources, layer.outputs, layer.input, layer.stride,
                              1.0, threads, element);
            })
            ->Unit(benchmark::kMillisecond)
            ->UseRealTime();
      }
    }
    for (const Layer& layer : kStrided) {
      benchmark::RegisterBenchmark(
          (layer_name("dense_onednn", layer.sources, layer.outputs, layer.input, 1, threads, Element::f32) +
           "/stride:" + std::to_string(layer.stride.depth))
              .c_str(),
          [=](benchmark::State& state) {
            const auto make = [=](const kernels::ConvolutionShape& shape, const kernels::SparseKernels& kept,
                                  Element element) {
              return test::planned_convolution("onednn", shape, kept, element, threads);
            };
            run_convolution(state, make, layer.sources, layer.outputs, layer.input, layer.stride, 1.0, threads,
                            Element::f32);
          })
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
    }
    for (const Layer& layer : kFusion) {
      for (double density : {0.1, 0.2, 0.3}) {
        benchmark::RegisterBenchmark(
            layer_name("sparse_direct", layer.sources, layer.outputs, layer.input, density, threads, Element::f32)
                .c_str(),
            [=](benchmark::State& state) {
              run_convolution(state, test::make_sparse_direct, layer.sources, layer.outputs, layer.input, layer.stride,
                              density, threads, Element::f32);
            })
            ->Unit(benchmark::kMillisecond)
            ->UseRealTime();
      }
    }
  }
  return 0;
}();

}  // namespace
