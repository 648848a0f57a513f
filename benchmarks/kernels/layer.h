// Random layers for the benchmarks of kernels: whole features, activated sources, statistics taken, as in the network.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/parallel.h"
#include "kernels/convolution.h"
#include "kernels/transposed_convolution.h"
#include "support/planned_kernels.h"

namespace e2enet::benchmarks {

using kernels::Element;
using kernels::Extent;
using kernels::Feature;
using kernels::SparseKernels;
using kernels::Stride;

struct LayerFeature {
  LayerFeature(int channels, Extent extent, Element element)
      : memory(static_cast<std::size_t>(channels * channel_stride(extent, element)) * element_bytes(element),
               "a benchmark's feature"),
        scale(static_cast<std::size_t>(channels), 1.1f),
        offset(static_cast<std::size_t>(channels), 0.1f) {
    feature.data = memory.data();
    feature.element = element;
    feature.channels = channels;
    feature.extent = extent;
    feature.channel_stride = channel_stride(extent, element);
    feature.stored_rows = extent.height;
  }

  // Channels a power of two apart would share the sets of every cache; the plan of a network keeps them a line off too.
  static std::ptrdiff_t channel_stride(Extent extent, Element element) {
    return extent.voxels() + 64 / static_cast<std::ptrdiff_t>(element_bytes(element));
  }

  // Values around zero without denormals; every page is touched.
  void fill() {
    std::uint32_t state = 1;
    const std::size_t count = memory.size() / element_bytes(feature.element);
    for (std::size_t i = 0; i < count; ++i) {
      state = state * 1664525u + 1013904223u;
      const float value = static_cast<float>(static_cast<std::int32_t>(state) >> 8) * 0x1p-23f;
      std::uint32_t bits;
      std::memcpy(&bits, &value, sizeof bits);
      if (feature.element == Element::f32) {
        reinterpret_cast<std::uint32_t*>(memory.data())[i] = bits;
      } else {
        reinterpret_cast<std::uint16_t*>(memory.data())[i] = static_cast<std::uint16_t>(bits >> 16);
      }
    }
  }

  kernels::Source source() const { return {feature, {scale.data(), offset.data(), 0.01f}}; }

  AlignedBuffer memory;
  Feature feature;
  std::vector<float> scale, offset;
};

struct LayerKernels {
  LayerKernels(int outputs, int inputs, int taps, double density)
      : output_count(outputs), input_count(inputs), tap_count(taps) {
    std::mt19937 random(1);
    std::uniform_real_distribution<float> uniform(0, 1);
    row_begin.push_back(0);
    for (int o = 0; o < outputs; ++o) {
      for (int c = 0; c < inputs; ++c) {
        if (density < 1 && uniform(random) >= density) continue;
        input.push_back(c);
        for (int t = 0; t < taps; ++t) values.push_back(uniform(random) - 0.5f);
      }
      row_begin.push_back(static_cast<std::int32_t>(input.size()));
    }
  }
  SparseKernels view() const {
    return {output_count, input_count, tap_count, row_begin.data(), input.data(), values.data()};
  }

  int output_count, input_count, tap_count;
  std::vector<std::int32_t> row_begin, input;
  std::vector<float> values;
};

inline int sum_of(const std::vector<int>& channels) { return std::accumulate(channels.begin(), channels.end(), 0); }

// What a convolution layer reads and writes, but for its statistics, whose number is the convolution's.
struct LayerMemory {
  LayerMemory(const kernels::ConvolutionShape& layer_shape, int outputs, double density, Element element)
      : shape(layer_shape),
        kernels(outputs, sum_of(shape.source_channels), 9, density),
        output(outputs, shape.output(), element),
        bias(static_cast<std::size_t>(outputs), 0.1f) {
    for (const int channels : shape.source_channels) {
      features.emplace_back(channels, shape.input, element);
      features.back().fill();
      sources.push_back(features.back().source());
    }
    output.fill();
  }

  kernels::ConvolutionArguments arguments(std::vector<kernels::PartialStatistics>& statistics,
                                          const test::PlannedConvolution& convolution) const {
    statistics.resize(
        static_cast<std::size_t>(convolution.bands() * convolution.slots_per_band() * output.feature.channels));
    kernels::ConvolutionArguments all;
    all.sources = sources.data();
    all.bias = bias.data();
    all.output = output.feature;
    all.statistics = statistics.data();
    return all;
  }

  kernels::ConvolutionShape shape;
  LayerKernels kernels;
  LayerFeature output;
  std::vector<float> bias;
  std::vector<LayerFeature> features;
  std::vector<kernels::Source> sources;
};

using ConvolutionFactory = std::function<std::unique_ptr<test::PlannedConvolution>(const kernels::ConvolutionShape&,
                                                                                   const SparseKernels&, Element)>;

// One convolution layer, all items over `threads` threads. Reports multiply-adds really done as GFLOP/s and the bytes
// of sources and output once each.
inline void run_convolution(benchmark::State& state, ConvolutionFactory make, std::vector<int> source_channels,
                            int outputs, Extent input, Stride stride, double density, int threads, Element element,
                            Stride pooling = {0, 0, 0}) {
  const LayerMemory layer({input, stride, 5, source_channels}, outputs, density, element);
  const auto convolution = make(layer.shape, layer.kernels.view(), element);
  if (convolution == nullptr) {
    state.SkipWithError("not available");
    return;
  }
  std::vector<kernels::PartialStatistics> statistics;
  kernels::ConvolutionArguments arguments = layer.arguments(statistics, *convolution);
  std::unique_ptr<LayerFeature> pooled;
  if (pooling.depth > 0 && convolution->can_pool(pooling)) {
    const Extent extent = layer.shape.output();
    pooled = std::make_unique<LayerFeature>(
        outputs, Extent{extent.depth / pooling.depth, extent.height / pooling.height, extent.width / pooling.width},
        element);
    arguments.pooled.feature = pooled->feature;
  }
  std::vector<AlignedBuffer> scratch;
  for (int t = 0; t < threads; ++t) {
    scratch.emplace_back(convolution->scratch_bytes(), "scratch");
    std::memset(scratch.back().data(), 0, scratch.back().size());
  }
  const int items = convolution->items_per_band();
  const int total = convolution->bands() * items;
  for (auto _ : state) {
    run_team(threads, [&](const Worker& worker) {
      void* mine = scratch[static_cast<std::size_t>(worker.thread())].data();
      worker.for_each(total, [&](std::int64_t i) {
        convolution->run(arguments, static_cast<int>(i / items), static_cast<int>(i % items), mine);
      });
    });
  }
  const double output_voxels = static_cast<double>(layer.shape.output().voxels());
  const double flops = 2.0 * 9 * static_cast<double>(layer.kernels.view().count()) * output_voxels;
  state.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  const double bytes = static_cast<double>(element_bytes(element)) *
                       (sum_of(source_channels) * double(input.voxels()) + double(outputs) * output_voxels);
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  state.SetLabel(convolution->name() + ", " + std::to_string(total) + " items, scratch " +
                 std::to_string(convolution->scratch_bytes() >> 10) + " KiB");
}

inline std::string layer_name(const std::string& kernel, const std::vector<int>& source_channels, int outputs,
                              Extent input, double density, int threads, Element element) {
  std::string name = kernel + "/";
  for (std::size_t s = 0; s < source_channels.size(); ++s) name += (s ? "+" : "") + std::to_string(source_channels[s]);
  name += "->" + std::to_string(outputs) + "/" + std::to_string(input.depth) + "x" + std::to_string(input.height) +
          "x" + std::to_string(input.width) + "/density:" + std::to_string(density).substr(0, 4) +
          "/threads:" + std::to_string(threads) + (element == Element::f32 ? "/f32" : "/bf16");
  return name;
}

}  // namespace e2enet::benchmarks
