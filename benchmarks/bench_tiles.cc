// A sliding window over a volume of many tiles: threads that share each run of the network against runs side by side.
//
//   benchmark_tiles --benchmark_repetitions=5 --benchmark_enable_random_interleaving=true
#include <benchmark/benchmark.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "model/model_file.h"
#include "model/random_model.h"
#include "tiles/sliding_window.h"

namespace {

using namespace e2enet;

// The shapes of models/: the small and the larger hippocampus network, and that of whole heads.
struct NetworkShape {
  const char* name;
  const char* architecture;
  Extent volume;
};
const NetworkShape kNetworks[] = {
    {"hippocampus_small",
     R"("base_features":8,"classes":3,"pool_strides":[[2,2,2],[2,2,2],[2,2,2]],"patch_size":[40,56,40])",
     {40, 112, 100}},
    {"hippocampus",
     R"("base_features":16,"classes":3,"pool_strides":[[2,2,2],[2,2,2],[2,2,2]],"patch_size":[40,56,40])",
     {40, 112, 100}},
    {"brain",
     R"("base_features":16,"classes":30,"pool_strides":[[2,2,2],[2,2,2],[2,2,2],[2,2,2]],"patch_size":[64,80,80])",
     {90, 120, 120}},
};

class Nowhere : public tiles::SliceSink {
 public:
  void consume(const tiles::FinishedSlices&) override {}
};

void run(benchmark::State& state, const NetworkShape& shape, int threads, int side_by_side) {
  const auto path = std::filesystem::temp_directory_path() / "e2enet-benchmark-tiles.safetensors";
  model::write_random_model(std::string(R"({"input_channels":1,"density":0.2,)") + shape.architecture + "}",
                            "benchmark", 1, path.string());
  const auto network = model::load_model_file(path.string());
  std::filesystem::remove(path);
  plan::PlanOptions plan;
  plan.threads = threads;
  engine::Engine engine(*network, plan);
  tiles::TilingOptions options;
  options.side_by_side = side_by_side;
  const auto& [depth, height, width] = shape.volume;
  tiles::SlidingWindow window(engine, options, shape.volume);
  const std::vector<float> image(static_cast<std::size_t>(depth) * static_cast<std::size_t>(height * width), 0.5f);
  Nowhere nowhere;
  for (auto _ : state) window.run(image.data(), nowhere);
  state.SetLabel(std::to_string(window.runs()) + " runs, " +
                 std::to_string(tiles::SlidingWindow::network_bytes(engine.plan(), side_by_side) / 1e6) + " MB");
}

const int registered = [] {
  for (const NetworkShape& shape : kNetworks) {
    for (const auto& [threads, side_by_side] : {std::pair(1, 1), {2, 1}, {2, 2}}) {
      const std::string name =
          std::string(shape.name) + "/threads:" + std::to_string(threads) + "/at_once:" + std::to_string(side_by_side);
      benchmark::RegisterBenchmark(name.c_str(), run, shape, threads, side_by_side)
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
  return 0;
}();

}  // namespace
