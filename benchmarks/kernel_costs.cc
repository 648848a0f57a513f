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
#include <utility>
#include <vector>

#include "base/simd/dispatch.h"
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
  std::unique_ptr<test::PlannedConvolution> convolution;
  double seconds = std::numeric_limits<double>::infinity();
};

// The least of three runs, of which the first finds pages and caches cold.
double seconds_of(const LayerMemory& layer, const test::PlannedConvolution& convolution) {
  AlignedBuffer scratch(convolution.scratch_bytes(), "scratch");
  std::vector<kernels::PartialStatistics> statistics;
  const kernels::ConvolutionArguments arguments = layer.arguments(statistics, convolution);
  double least = std::numeric_limits<double>::infinity();
  for (int run = 0; run < 3; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    for (int band = 0; band < convolution.bands(); ++band) {
      for (int item = 0; item < convolution.items_per_band(); ++item) {
        convolution.run(arguments, band, item, scratch.data());
      }
    }
    least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return least;
}

std::string name_of(const Tiling& tiling) {
  std::string name = tiling.flat ? "flat " : "";
  if (tiling.tile_rows > 1) name += std::to_string(tiling.tile_rows) + " rows x ";
  return name + std::to_string(tiling.tiles) + (tiling.tiles == 1 ? " tile x " : " tiles x ") +
         std::to_string(tiling.depth_segment) + " depths, " + std::to_string(tiling.vectors) + " vectors";
}

// In the order of the plan, which takes the least estimate, and of equal ones the first.

// The sixteen tilings of least estimates, up to twice the least.
std::vector<Candidate> tilings(const kernels::ConvolutionProblem& problem, const SparseKernels& kernels) {
  const kernels::winograd::Plan plan = kernels::winograd::plan_of(problem);
  std::vector<std::pair<double, Tiling>> list;
  for (const Tiling& tiling : plan.tilings()) list.emplace_back(plan.estimated_cycles(tiling), tiling);
  std::stable_sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Candidate> candidates;
  for (const auto& [estimate, tiling] : list) {
    if (estimate > 2 * list.front().first || candidates.size() == 16) break;
    candidates.push_back(
        {name_of(tiling), estimate,
         std::make_unique<test::PlannedConvolution>(kernels::winograd::make_tiled(problem, tiling), kernels)});
  }
  return candidates;
}

std::vector<Candidate> algorithms(const kernels::ConvolutionProblem& problem, const SparseKernels& kernels) {
  std::vector<Candidate> candidates;
  for (const kernels::ConvolutionEntry* entry : kernels::convolution_kernels()) {
    if (entry->accepts(problem).degree != kernels::Acceptance::Degree::yes) continue;
    candidates.push_back(
        {entry->name, entry->cost(problem), std::make_unique<test::PlannedConvolution>(entry->make(problem), kernels)});
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.estimate < b.estimate; });
  return candidates;
}

// What the first, which the plan takes, costs above the fastest.
double regret(const std::vector<Candidate>& candidates) {
  const auto fastest = std::min_element(candidates.begin(), candidates.end(),
                                        [](const Candidate& a, const Candidate& b) { return a.seconds < b.seconds; });
  return candidates.front().seconds / fastest->seconds - 1;
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
      const LayerMemory memory({layer.input, layer.stride, 5, layer.sources}, layer.outputs, layer.density,
                               kernels::Element::f32);
      kernels::ConvolutionProblem problem;
      problem.shape = memory.shape;
      problem.kernels = memory.kernels.view().counts();
      for (const auto& [what, make] : {std::pair{"tiling", tilings}, std::pair{"algorithm", algorithms}}) {
        std::vector<Candidate> candidates = make(problem, memory.kernels.view());
        for (int round = 0; round < rounds; ++round) {
          for (Candidate& one : candidates) one.seconds = std::min(one.seconds, seconds_of(memory, *one.convolution));
        }
        print(what, candidates);
      }
      std::fflush(stdout);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "benchmark_costs: error: %s\n", error.what());
    return 1;
  }
}
