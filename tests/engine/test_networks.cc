// Whole networks against the original implementation: logits and inner nodes, for every algorithm that can be chosen.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "kernels/kernel_list.h"
#include "model/model_file.h"
#include "support/npy.h"
#include "support/paths.h"
#include "support/sanitizers.h"

namespace {

using e2enet::engine::Engine;
using e2enet::engine::LoopIteration;
using e2enet::engine::StoreLogits;
using e2enet::plan::PlanOptions;
using e2enet::test::Array;

// The golden inputs are (1, channels, D, H, W).
e2enet::kernels::PatchView view(const Array<float>& input) {
  REQUIRE(input.shape.size() == 5);
  e2enet::kernels::PatchView patch;
  patch.data = input.values.data();
  patch.channel_stride = input.shape[2] * input.shape[3] * input.shape[4];
  patch.stride[0] = input.shape[3] * input.shape[4];
  patch.stride[1] = input.shape[4];
  patch.stride[2] = 1;
  for (int axis = 0; axis < 3; ++axis) patch.end[axis] = int(input.shape[std::size_t(axis) + 2]);
  return patch;
}

double largest_difference(const std::vector<float>& found, const std::vector<float>& expected) {
  REQUIRE(found.size() == expected.size());
  double largest = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double difference = std::abs(double(found[i]) - double(expected[i]));
    if (!(difference <= largest)) largest = difference;  // a NaN stays
  }
  return largest;
}

std::vector<float> logits_of(Engine& engine, const Array<float>& input) {
  const auto& patch = engine.plan().patch;
  const int classes = engine.network().architecture().classes;
  std::vector<float> logits(std::size_t(classes) * std::size_t(patch[0]) * std::size_t(patch[1]) *
                            std::size_t(patch[2]));
  StoreLogits sink(logits.data(), classes, patch);
  engine.run(view(input), sink);
  return logits;
}

struct GoldenNetwork {
  std::string name;
  double tolerance;
  std::vector<e2enet::model::Node> nodes;         // in tests/data/networks
  std::vector<e2enet::model::Node> shared_nodes;  // in the shared folder only
};

const std::vector<GoldenNetwork> kNetworks = {
    {"A", 1e-4, {{2, 0}, {2, 3}, {5, 0}}, {{1, 0}, {1, 1}}},
    {"B", 5e-4, {{2, 0}, {2, 3}, {5, 0}}, {{1, 1}}},
    {"D", 1e-4, {{2, 3}}, {{2, 0}}},
};

std::string network_path(const std::string& name) {
  return e2enet::test::source_path("tests/data/networks/net_" + name);
}

// `prefix` is what comes before node_xI_J.npy.gz.
void check_nodes(const GoldenNetwork& golden, const std::vector<e2enet::model::Node>& nodes,
                 const std::string& prefix) {
  const auto network = e2enet::model::load_model_file(network_path(golden.name) + ".safetensors");
  const auto input = e2enet::test::read_npy<float>(network_path(golden.name) + "_input.npy.gz");
  Engine engine(*network, PlanOptions{});
  for (const auto& node : nodes) {
    const std::string file =
        prefix + "node_x" + std::to_string(node.level) + "_" + std::to_string(node.stage) + ".npy.gz";
    CAPTURE(file);
    const auto expected = e2enet::test::read_npy<float>(file);
    std::vector<float> found(expected.values.size());
    engine.run_to_node(view(input), node, found.data());
    CHECK(largest_difference(found, expected.values) < golden.tolerance);
  }
}

}  // namespace

TEST_CASE("logits equal the original implementation's, whatever algorithm computes the layers") {
  std::vector<std::string> choices = e2enet::kernels::convolution_kernel_names();
  choices.push_back("");  // by cost
  for (const GoldenNetwork& golden : kNetworks) {
    const auto input = e2enet::test::read_npy<float>(network_path(golden.name) + "_input.npy.gz");
    const auto expected = e2enet::test::read_npy<float>(network_path(golden.name) + "_logits_from_f64.npy.gz");
    for (const std::string& algorithm : choices) {
      if (algorithm == "reference" && golden.name != "A") continue;  // slow, and the same everywhere
      CAPTURE(golden.name);
      CAPTURE(algorithm);
      PlanOptions options;
      options.threads = 2;
      options.forced_algorithm = algorithm;
      // The network is gone before the engine runs: all that it needs must be packed.
      Engine engine(*e2enet::model::load_model_file(network_path(golden.name) + ".safetensors"), options);
      const double difference = largest_difference(logits_of(engine, input), expected.values);
      MESSAGE("largest difference " << difference);
      CHECK(difference < golden.tolerance);
    }
  }
}

TEST_CASE("a level in place and an upward flow in a ring give the same bits as whole features") {
  const auto network = e2enet::model::load_model_file(network_path("A") + ".safetensors");
  const auto input = e2enet::test::read_npy<float>(network_path("A") + "_input.npy.gz");
  std::vector<float> expected;
  struct Memory {
    std::size_t least_bytes;  // from which a level is in place and an upward flow in a ring
    int items_at_once;
  };
  // How many items a band has depends on the vectors: one of the numbers in the middle is more than that, but fewer
  // than all bands have.
  bool several_bands_reached = false;
  for (const Memory memory : {Memory{std::size_t(-1), 1}, Memory{0, 1}, Memory{0, 4}, Memory{0, 8}, Memory{0, 16},
                              Memory{0, 32}, Memory{0, 1000}}) {
    for (const int threads : {1, 2, 3}) {
      if (e2enet::test::runs_slowly() && threads != 2) continue;
      CAPTURE(memory.least_bytes);
      CAPTURE(memory.items_at_once);
      CAPTURE(threads);
      PlanOptions options;
      options.threads = threads;
      options.in_place_bytes = options.ring_bytes = memory.least_bytes;
      options.items_at_once = memory.items_at_once;
      Engine engine(*network, options);
      int in_place = 0, several_bands = 0;
      for (const e2enet::plan::Step& step : engine.plan().steps) {
        if (!step.convolution) continue;
        in_place += step.convolution->in_place;
        several_bands += step.convolution->band_by_band() && step.convolution->bands_at_once > 1;
      }
      if (memory.items_at_once == 1) {
        CHECK((in_place > 0) == (memory.least_bytes == 0));
        CHECK(several_bands == 0);
      }
      if (memory.items_at_once == 1000) CHECK(in_place == 0);
      several_bands_reached = several_bands_reached || (in_place > 0 && several_bands > 0);
      if (expected.empty()) expected = logits_of(engine, input);
      for (int run = 0; run < 2; ++run) {
        const std::vector<float> found = logits_of(engine, input);
        CHECK(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)) == 0);
      }
    }
  }
  CHECK(several_bands_reached);
}

// An order of all iterations that the plan's loops allow, and that is as far from the usual one as can be: `choose`
// picks one of the loops that could go on.
template <typename Choose>
std::vector<LoopIteration> order_of(const e2enet::plan::Plan& plan, const Choose& choose) {
  const auto& loops = plan.loops;
  std::vector<std::vector<bool>> done;
  std::vector<int> left;
  for (const auto& loop : loops) {
    done.emplace_back(std::size_t(loop.count), false);
    left.push_back(loop.count);
  }
  const auto allowed = [&](int index, int iteration) {
    const e2enet::plan::Loop& loop = loops[std::size_t(index)];
    for (const int before : loop.beside) {
      const e2enet::plan::Loop& other = loops[std::size_t(before)];
      const auto awaited = plan.awaited(loop, iteration, other);
      for (int i = awaited.begin; i < awaited.end; ++i) {
        if (!done[std::size_t(before)][std::size_t(i)]) return false;
      }
    }
    return true;
  };
  std::vector<LoopIteration> order;
  std::size_t count = 0;
  for (const auto& loop : loops) count += std::size_t(loop.count);
  int first_open = 0;
  while (order.size() < count) {
    while (left[std::size_t(first_open)] == 0) ++first_open;
    std::vector<LoopIteration> open;
    // Threads are never further ahead than this: loops behind what is awaited by all.
    for (int index = first_open; index < int(loops.size()) && index < first_open + 40; ++index) {
      const auto& after = loops[std::size_t(index)].after;
      if (std::any_of(after.begin(), after.end(), [&](int before) { return left[std::size_t(before)] > 0; })) continue;
      for (int i = 0; i < loops[std::size_t(index)].count; ++i) {
        if (!done[std::size_t(index)][std::size_t(i)] && allowed(index, i)) open.push_back({index, i});
      }
    }
    REQUIRE(!open.empty());
    const LoopIteration next = open[choose(open.size())];
    done[std::size_t(next.loop)][std::size_t(next.iteration)] = true;
    --left[std::size_t(next.loop)];
    order.push_back(next);
  }
  return order;
}

TEST_CASE("any order that the loops allow gives the same bits") {
  const auto network = e2enet::model::load_model_file(network_path("A") + ".safetensors");
  const auto input = e2enet::test::read_npy<float>(network_path("A") + "_input.npy.gz");
  std::minstd_rand random(1);
  int ahead = 0;  // loops that began before the one before them was done
  // One thread alone runs here: in an emulator or under a thread sanitizer a part of the settings will do.
  using e2enet::kernels::Element;
  const bool slow = e2enet::test::runs_slowly();
  const std::vector<int> numbers_at_once = slow ? std::vector<int>{4} : std::vector<int>{1, 4, 8, 1000};
  const std::vector<Element> storages =
      slow ? std::vector<Element>{Element::f32} : std::vector<Element>{Element::f32, Element::bf16};
  const int repetitions = slow ? 1 : 3;
  for (const std::size_t least_bytes : {std::size_t(-1), std::size_t(0)}) {
    for (const int items_at_once : numbers_at_once) {
      for (const auto storage : storages) {
        CAPTURE(least_bytes);
        CAPTURE(items_at_once);
        PlanOptions options;
        options.in_place_bytes = options.ring_bytes = least_bytes;
        options.items_at_once = items_at_once;
        options.storage = storage;
        Engine engine(*network, options);
        const std::vector<float> expected = logits_of(engine, input);
        std::vector<float> found(expected.size());
        StoreLogits sink(found.data(), engine.network().architecture().classes, engine.plan().patch);
        const auto check = [&](const std::vector<LoopIteration>& order) {
          for (std::size_t i = 1; i < order.size(); ++i) ahead += order[i].loop < order[i - 1].loop;
          std::fill(found.begin(), found.end(), 0.0f);
          engine.run_in_order(order, view(input), sink);
          CHECK(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)) == 0);
        };
        // As far ahead as it goes, from the last item; from the first; and at random.
        check(order_of(engine.plan(), [](std::size_t open) { return open - 1; }));
        check(order_of(engine.plan(), [](std::size_t) { return std::size_t{0}; }));
        for (int repetition = 0; repetition < repetitions; ++repetition) {
          check(order_of(engine.plan(), [&](std::size_t open) { return std::size_t(random()) % open; }));
        }
      }
    }
  }
  CHECK(ahead > (slow ? 100 : 1000));
}

TEST_CASE("inner nodes equal the original implementation's") {
  for (const GoldenNetwork& golden : kNetworks) check_nodes(golden, golden.nodes, network_path(golden.name) + "_");
}

TEST_CASE("more inner nodes equal the original implementation's" * doctest::test_suite("shared")) {
  for (const GoldenNetwork& golden : kNetworks) {
    const std::string folder = "golden/net_" + golden.name;
    E2ENET_NEEDS_SHARED(folder);
    check_nodes(golden, golden.shared_nodes, e2enet::test::shared_path(folder) + "/");
  }
}

TEST_CASE("what leads to a norm over few voxels is computed by direct sums, on every instruction set") {
  const auto winograd_in_backbone = [](const std::string& name, e2enet::Extent patch) {
    const auto network = e2enet::model::load_model_file(network_path(name) + ".safetensors");
    PlanOptions options;
    options.patch = patch;
    const e2enet::plan::Plan plan(*network, options);
    int found = 0;
    for (const e2enet::plan::Step& step : plan.steps) {
      if (!step.convolution || step.convolution->description.node.stage > 0) continue;
      found += step.convolution->kernel->name().find("winograd") != std::string::npos;
    }
    return found;
  };
  CHECK(winograd_in_backbone("B", {32, 32, 64}) == 0);   // 2 voxels
  CHECK(winograd_in_backbone("B", {32, 32, 128}) == 0);  // 4
  CHECK(winograd_in_backbone("B", {64, 64, 64}) > 0);    // 8
  CHECK(winograd_in_backbone("A", {16, 64, 64}) > 0);    // 8
}

TEST_CASE("what a sink throws in a thread of the team comes out of the engine, and the next patch is right") {
  class Refuse : public e2enet::engine::LogitsSink {
   public:
    void consume(int row, float*) override {
      if (row == 5) throw std::runtime_error("row 5");
    }
  };
  const auto network = e2enet::model::load_model_file(network_path("A") + ".safetensors");
  const auto input = e2enet::test::read_npy<float>(network_path("A") + "_input.npy.gz");
  for (const std::string& algorithm : e2enet::kernels::convolution_kernel_names()) {
    if (algorithm == "reference") continue;  // slow
    for (const int threads : {1, 2, 5}) {
      if (e2enet::test::runs_slowly() && threads != 2) continue;
      PlanOptions options;
      options.threads = threads;
      options.forced_algorithm = algorithm;
      Engine engine(*network, options);
      const std::vector<float> expected = logits_of(engine, input);
      Refuse refuse;
      CHECK_THROWS_WITH_AS(engine.run(view(input), refuse), "row 5", std::runtime_error);
      const std::vector<float> found = logits_of(engine, input);
      CHECK(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)) == 0);
    }
  }
}
