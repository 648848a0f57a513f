// What runs beside the convolutions, at the shapes of the paper's network (base 48, 16 classes, patch 128^3) and of a
// small one (base 16, 3 classes, 40x56x40). Memory bounds all of them: GB/s counts what is read and written once each.
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "kernels/elementwise.h"
#include "layer.h"

using namespace e2enet;
using namespace e2enet::benchmarks;

namespace {

struct Network {
  int features;
  int classes;
  Extent patch;
};
const Network kNetworks[] = {{48, 16, {128, 128, 128}}, {16, 3, {40, 56, 40}}};

std::vector<float> some_values(std::ptrdiff_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::generate(values.begin(), values.end(), [&] { return normal(random); });
  return values;
}

// work(row, thread) for every row, on all threads.
void measure_rows(benchmark::State& state, int rows, int threads, double bytes,
                  const std::function<void(int row, int thread)>& work) {
  for (auto _ : state) {
    run_team(threads, [&](const Worker& worker) {
      worker.for_each(rows, [&](std::int64_t row) { work(static_cast<int>(row), worker.thread()); });
    });
  }
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void head(benchmark::State& state, const Network& network, int threads, Element element) {
  LayerFeature feature(network.features, network.patch, element);
  feature.fill();
  const std::vector<float> weight = some_values(std::ptrdiff_t{network.classes} * network.features);
  const std::ptrdiff_t row_floats = network.classes * feature.feature.row_elements();
  std::vector<float> logits(static_cast<std::size_t>(threads * row_floats));
  const double bytes = double(network.patch.voxels()) * network.features * double(element_bytes(element));
  measure_rows(state, network.patch.height, threads, bytes, [&](int row, int thread) {
    kernels::head_row(feature.source(), weight.data(), network.classes, row, logits.data() + thread * row_floats);
  });
}

// The logits of one row after the other, as the head leaves them in the cache.
void probabilities(benchmark::State& state, const Network& network, int threads, bool softmax) {
  const std::ptrdiff_t voxels = std::ptrdiff_t{network.patch.width} * network.patch.depth;
  const std::ptrdiff_t row_floats = network.classes * voxels;
  const std::vector<float> logits = some_values(threads * row_floats);
  std::vector<float> values = logits;
  const double bytes = 2.0 * double(network.patch.voxels()) * network.classes * sizeof(float);
  measure_rows(state, network.patch.height, threads, bytes, [&](int, int thread) {
    float* row = values.data() + thread * row_floats;
    std::copy_n(logits.data() + thread * row_floats, row_floats, row);
    if (softmax) {
      kernels::softmax(row, network.classes, voxels);
    } else {
      kernels::sigmoid(row, network.classes, voxels);
    }
  });
}

void load_patch(benchmark::State& state, const Network& network, int threads, Element element) {
  LayerFeature feature(1, network.patch, element);
  feature.fill();
  const std::vector<float> values = some_values(network.patch.voxels());
  kernels::PatchView view;
  view.data = values.data();
  view.stride[2] = 1;
  view.stride[1] = network.patch.width;
  view.stride[0] = std::ptrdiff_t{network.patch.width} * network.patch.height;
  view.channel_stride = network.patch.voxels();
  view.end[0] = network.patch.depth;
  view.end[1] = network.patch.height;
  view.end[2] = network.patch.width;
  const double bytes = double(network.patch.voxels()) * double(sizeof(float) + element_bytes(element));
  measure_rows(state, network.patch.height, threads, bytes,
               [&](int row, int) { kernels::load_patch_rows(view, feature.feature, row, row + 1); });
}

void store_activated(benchmark::State& state, const Network& network, int threads, Element element) {
  LayerFeature feature(network.features, network.patch, element);
  feature.fill();
  std::vector<float> values(static_cast<std::size_t>(network.features * network.patch.voxels()));
  const double bytes =
      double(network.patch.voxels()) * network.features * double(sizeof(float) + element_bytes(element));
  measure_rows(state, network.patch.height, threads, bytes,
               [&](int row, int) { kernels::store_activated_rows(feature.source(), values.data(), row, row + 1); });
}

void max_pool(benchmark::State& state, const Network& network, int threads, Element element) {
  LayerFeature feature(network.features, network.patch, element);
  feature.fill();
  const Extent& extent = network.patch;
  LayerFeature pooled(network.features, {extent.depth / 2, extent.height / 2, extent.width / 2}, element);
  pooled.fill();
  const double bytes = 1.125 * double(extent.voxels()) * network.features * double(element_bytes(element));
  measure_rows(state, extent.height / 2, threads, bytes, [&](int row, int) {
    kernels::max_pool_rows(feature.source(), pooled.feature, {2, 2, 2}, row, row + 1);
  });
}

// Statistics of level 0, whose items are 8x4 pixels of 32 depths.
void instance_norm(benchmark::State& state, const Network& network) {
  const int slots = static_cast<int>(network.patch.voxels() / (8 * 4 * 32));
  const int outputs = network.features;
  std::vector<kernels::PartialStatistics> statistics(static_cast<std::size_t>(slots) * outputs, {0.1f, 900.0f});
  const std::vector<std::int64_t> voxels(static_cast<std::size_t>(slots), 8 * 4 * 32);
  const std::vector<float> weight(static_cast<std::size_t>(outputs), 1.0f);
  std::vector<float> scale(weight), offset(weight);
  const double bytes = double(slots) * outputs * sizeof(kernels::PartialStatistics);
  measure_rows(state, 1, 1, bytes, [&](int, int) {
    kernels::finish_instance_norm(statistics.data(), voxels.data(), slots, outputs, 0, outputs, weight.data(),
                                  weight.data(), 1e-5f, scale.data(), offset.data());
  });
}

void add(const std::string& kernel, const Network& network, int threads, const char* element,
         const std::function<void(benchmark::State&)>& run) {
  const Extent& patch = network.patch;
  const std::string name = kernel + "/" + std::to_string(network.features) +
                           "/classes:" + std::to_string(network.classes) + "/" + std::to_string(patch.depth) + "x" +
                           std::to_string(patch.height) + "x" + std::to_string(patch.width) +
                           "/threads:" + std::to_string(threads) + "/" + element;
  benchmark::RegisterBenchmark(name.c_str(), run)->Unit(benchmark::kMillisecond)->UseRealTime();
}

const int registered = [] {
  for (const Network& network : kNetworks) {
    for (int threads : {1, 2}) {
      for (Element element : {Element::f32, Element::bf16}) {
        const char* name = element == Element::f32 ? "f32" : "bf16";
        add("head_row", network, threads, name, [=](benchmark::State& s) { head(s, network, threads, element); });
        add("load_patch_rows", network, threads, name,
            [=](benchmark::State& s) { load_patch(s, network, threads, element); });
        add("store_activated_rows", network, threads, name,
            [=](benchmark::State& s) { store_activated(s, network, threads, element); });
        add("max_pool_rows", network, threads, name,
            [=](benchmark::State& s) { max_pool(s, network, threads, element); });
      }
      add("softmax", network, threads, "f32", [=](benchmark::State& s) { probabilities(s, network, threads, true); });
      add("sigmoid", network, threads, "f32", [=](benchmark::State& s) { probabilities(s, network, threads, false); });
    }
    add("finish_instance_norm", network, 1, "f32", [=](benchmark::State& s) { instance_norm(s, network); });
  }
  return 0;
}();

}  // namespace
