// Sparse transposed convolutions at the shapes of the upward flows.
#include "layer.h"

using namespace e2enet;
using namespace e2enet::benchmarks;

namespace {

struct Layer {
  int inputs;
  int outputs;
  Extent input;
  Stride stride;
};

const Layer kLayers[] = {
    {96, 48, {64, 64, 64}, {2, 2, 2}},  {192, 96, {32, 32, 32}, {2, 2, 2}}, {320, 192, {16, 16, 16}, {2, 2, 2}},
    {320, 320, {8, 8, 8}, {2, 2, 2}},   {320, 320, {4, 4, 4}, {2, 2, 2}},   {96, 48, {64, 80, 80}, {1, 2, 2}},
    {192, 96, {32, 40, 40}, {2, 2, 2}}, {32, 16, {20, 28, 20}, {2, 2, 2}},  {64, 32, {10, 14, 10}, {2, 2, 2}},
};

void run(benchmark::State& state, const Layer& layer, double density, int threads, Element element) {
  const LayerKernels kernel_memory(layer.outputs, layer.inputs,
                                   layer.stride.depth * layer.stride.height * layer.stride.width, density);
  LayerFeature input(layer.inputs, layer.input, element);
  input.fill();
  const Extent extent{layer.input.depth * layer.stride.depth, layer.input.height * layer.stride.height,
                      layer.input.width * layer.stride.width};
  LayerFeature output(layer.outputs, extent, element);
  output.fill();
  const auto transposed =
      test::planned_transposed("transposed", {layer.input, layer.stride}, kernel_memory.view(), element);
  std::vector<AlignedBuffer> scratch;
  for (int t = 0; t < threads; ++t) scratch.emplace_back(transposed->scratch_bytes(), "scratch");
  const int items = transposed->items_per_row();
  for (auto _ : state) {
    run_team(threads, [&](const Worker& worker) {
      void* mine = scratch[static_cast<std::size_t>(worker.thread())].data();
      worker.for_each(std::int64_t{layer.input.height} * items, [&](std::int64_t i) {
        transposed->run(input.source(), output.feature, static_cast<int>(i / items), static_cast<int>(i % items), mine);
      });
    });
  }
  const double flops = 2.0 * kernel_memory.view().taps * static_cast<double>(kernel_memory.view().count()) *
                       static_cast<double>(layer.input.voxels());
  state.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  const double bytes =
      static_cast<double>(element_bytes(element)) *
      (double(layer.inputs) * double(layer.input.voxels()) + double(layer.outputs) * double(extent.voxels()));
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  state.SetLabel(transposed->name() + ", " + std::to_string(items) + " items a row, scratch " +
                 std::to_string(transposed->scratch_bytes() >> 10) + " KiB");
}

const int registered = [] {
  for (int threads : {1, 2}) {
    for (const Layer& layer : kLayers) {
      for (double density : {0.1, 0.2, 0.3, 1.0}) {
        for (Element element : {Element::f32, Element::bf16}) {
          benchmark::RegisterBenchmark(
              layer_name("sparse_transposed", {layer.inputs}, layer.outputs, layer.input, density, threads, element)
                  .c_str(),
              [=](benchmark::State& state) { run(state, layer, density, threads, element); })
              ->Unit(benchmark::kMillisecond)
              ->UseRealTime();
        }
      }
    }
  }
  return 0;
}();

}  // namespace
