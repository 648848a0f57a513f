// Holds the plan's estimates against the clock, on this machine and for the instruction set in use (E2ENET_TARGET names
// another): which tiling the Winograd convolution takes of those that it could, and whether a layer is computed by
// Winograd or directly. Both choices are formulas (src/kernels/winograd/plan.cc, src/kernels/*/entry.cc), since a
// stopwatch would give other bits on every run; what is in them comes from here.
//
//     benchmark_costs [ROUNDS [LAYER]]    # layers whose name contains LAYER
//
// All choices of a layer take turns, on one thread, in one process and over the same memory, so that what else the
// machine does slows all of them; the least of all rounds counts. Layers of the paper's network are cut in height and
// width, which leaves their items as they are.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/simd/dispatch.h"
#include "kernels/direct/direct.h"
#include "kernels/kernel_list.h"
#include "kernels/winograd/winograd.h"
#include "layer.h"

using namespace e2enet;
using namespace e2enet::benchmarks;
using kernels::winograd::Tiling;

namespace {

struct Layer {
  std::vector<int> sources;
  int outputs;
  Extent input;
  double density;
  Stride stride{1, 1, 1};
};

const Layer kLayers[] = {
    {{1}, 48, {128, 32, 64}, 1},
    {{48}, 48, {128, 32, 64}, 1},
    {{48, 48}, 48, {128, 32, 64}, 0.2},
    {{48}, 48, {128, 32, 64}, 0.2},
    {{48}, 96, {128, 32, 64}, 1, {2, 2, 2}},
    {{96}, 96, {64, 32, 64}, 1},
    {{96, 96, 48}, 96, {64, 32, 64}, 0.2},
    {{192}, 192, {32, 32, 32}, 1},
    {{192, 192, 96}, 192, {32, 32, 32}, 0.2},
    {{320, 320, 192}, 320, {16, 16, 16}, 0.2},
    {{320, 320, 320}, 320, {8, 8, 8}, 0.2},
    {{1}, 16, {40, 56, 40}, 1},
    {{16}, 16, {40, 56, 40}, 1},
    {{16, 16}, 16, {40, 56, 40}, 0.2},
    {{16}, 32, {40, 56, 40}, 1, {2, 2, 2}},
    {{32}, 32, {20, 28, 20}, 1},
    {{32, 32, 16}, 32, {20, 28, 20}, 0.2},
    {{32}, 64, {20, 28, 20}, 1, {2, 2, 2}},
    {{64, 64, 32}, 64, {10, 14, 10}, 0.2},
    {{64}, 128, {10, 14, 10}, 1, {2, 2, 2}},
    {{8, 8}, 8, {40, 56, 40}, 0.2},
    {{16, 16}, 16, {64, 80, 80}, 0.2},
    {{16, 16}, 16, {64, 80, 80}, 0.1},
};

struct Candidate {
  std::string name;
  double estimate = 0;
  std::unique_ptr<kernels::ConvolutionPlan> plan;
  double seconds = std::numeric_limits<double>::infinity();
};

class LayerRun {
 public:
  explicit LayerRun(const Layer& layer)
      : kernels_(layer.outputs, inputs_of(layer), 9, layer.density),
        shape_{layer.input, layer.stride, 5, layer.sources},
        output_(layer.outputs, shape_.output(), kernels::Element::f32),
        bias_(static_cast<std::size_t>(layer.outputs), 0.1f) {
    for (const int channels : layer.sources) {
      features_.emplace_back(channels, layer.input, kernels::Element::f32);
      features_.back().fill();
      sources_.push_back(features_.back().source());
    }
    output_.fill();
    problem_.shape = shape_;
    problem_.kernels = kernels_.view().counts();
  }

  const kernels::ConvolutionProblem& problem() const { return problem_; }

  // Each candidate in turn, `rounds` times.
  void measure(std::vector<Candidate>& candidates, int rounds) {
    for (int round = 0; round < rounds; ++round) {
      for (Candidate& candidate : candidates) candidate.seconds = std::min(candidate.seconds, seconds(*candidate.plan));
    }
  }

 private:
  static int inputs_of(const Layer& layer) {
    int inputs = 0;
    for (const int channels : layer.sources) inputs += channels;
    return inputs;
  }

  double seconds(const kernels::ConvolutionPlan& plan) {
    const auto packed = plan.pack(kernels_.view());
    AlignedBuffer scratch(plan.scratch_bytes(), "scratch");
    std::vector<kernels::PartialStatistics> statistics(
        static_cast<std::size_t>(plan.bands() * plan.slots_per_band() * output_.feature.channels));
    kernels::ConvolutionArguments arguments;
    arguments.sources = sources_.data();
    arguments.bias = bias_.data();
    arguments.output = output_.feature;
    arguments.statistics = statistics.data();
    double least = std::numeric_limits<double>::infinity();
    for (int run = 0; run < 3; ++run) {  // the first finds pages and caches cold
      const auto begin = std::chrono::steady_clock::now();
      for (int band = 0; band < plan.bands(); ++band) {
        for (int item = 0; item < plan.items_per_band(); ++item) packed->run(arguments, band, item, scratch.data());
      }
      least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    return least;
  }

  LayerKernels kernels_;
  kernels::ConvolutionShape shape_;
  LayerFeature output_;
  std::vector<float> bias_;
  std::vector<LayerFeature> features_;
  std::vector<kernels::Source> sources_;
  kernels::ConvolutionProblem problem_;
};

std::string name_of(const Tiling& tiling) {
  std::string name = tiling.flat ? "flat " : "";
  if (tiling.tile_rows > 1) name += std::to_string(tiling.tile_rows) + " rows x ";
  return name + std::to_string(tiling.tiles) + (tiling.tiles == 1 ? " tile x " : " tiles x ") +
         std::to_string(tiling.depth_segment) + " depths, " + std::to_string(tiling.vectors) + " vectors";
}

// The tilings of least estimates, up to twice the least.
std::vector<Candidate> tilings(const kernels::ConvolutionProblem& problem) {
  const kernels::winograd::Plan plan = kernels::winograd::plan_of(problem);
  std::vector<Tiling> list = plan.tilings();
  std::sort(list.begin(), list.end(),
            [&](const Tiling& a, const Tiling& b) { return plan.estimated_cycles(a) < plan.estimated_cycles(b); });
  std::vector<Candidate> candidates;
  for (const Tiling& tiling : list) {
    const double estimate = plan.estimated_cycles(tiling);
    if (estimate > 2 * plan.estimated_cycles(list.front()) || candidates.size() == 16) break;
    candidates.push_back({name_of(tiling), estimate, kernels::winograd::make_tiled(problem, tiling)});
  }
  return candidates;
}

std::vector<Candidate> algorithms(const kernels::ConvolutionProblem& problem) {
  std::vector<Candidate> candidates;
  for (const kernels::ConvolutionEntry* entry : kernels::convolution_kernels()) {
    if (entry->accepts(problem).degree != kernels::Acceptance::Degree::yes) continue;
    candidates.push_back({entry->name, entry->cost(problem), entry->make(problem)});
  }
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.estimate < b.estimate; });
  return candidates;
}

// What the first, which the plan takes, costs above the fastest.
double regret(const std::vector<Candidate>& candidates) {
  double least = std::numeric_limits<double>::infinity();
  for (const Candidate& candidate : candidates) least = std::min(least, candidate.seconds);
  return candidates.front().seconds / least - 1;
}

void print(const char* what, const std::vector<Candidate>& candidates) {
  std::printf("  %s: the plan's choice takes %.1f%% more than the fastest\n", what, 100 * regret(candidates));
  for (const Candidate& candidate : candidates) {
    std::printf("    %-48s %9.3f ms   measured %5.2f   estimated %5.2f\n", candidate.name.c_str(),
                1e3 * candidate.seconds, candidate.seconds / candidates.front().seconds,
                candidate.estimate / candidates.front().estimate);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 3;
  if (rounds < 1 || argc > 3) {
    std::fprintf(stderr, "usage: benchmark_costs [ROUNDS [LAYER]]: expected a number of rounds from 1, found '%s'\n",
                 argv[1]);
    return 2;
  }
  const std::string wanted = argc > 2 ? argv[2] : "";
  try {
    simd::prepare_dispatch();
    std::printf("%s\n", simd::instruction_set());
    for (const Layer& layer : kLayers) {
      const std::string name = layer_name(layer.stride.height == 2 ? "stride 2" : "stride 1", layer.sources,
                                          layer.outputs, layer.input, layer.density, 1, kernels::Element::f32);
      if (name.find(wanted) == std::string::npos) continue;
      std::printf("%s\n", name.c_str());
      LayerRun run(layer);
      for (const auto& [what, make] : {std::pair{"tiling", tilings}, std::pair{"algorithm", algorithms}}) {
        std::vector<Candidate> candidates = make(run.problem());
        run.measure(candidates, rounds);
        print(what, candidates);
      }
      std::fflush(stdout);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "benchmark_costs: error: %s\n", error.what());
    return 1;
  }
}
