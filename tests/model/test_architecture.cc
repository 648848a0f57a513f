// The network's graph, and the paper's published figures for it.
#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <set>
#include <string>

#include "model/flops.h"
#include "model/model_file.h"
#include "model/random_model.h"
#include "support/temporary_folder.h"

namespace {

using e2enet::Extent;
using e2enet::model::Architecture;
using e2enet::model::Layer;
using e2enet::model::LayerDescription;
using e2enet::model::LayerKind;

Architecture paper_architecture() {
  Architecture architecture;
  architecture.classes = 16;
  architecture.pool_strides.assign(5, {2, 2, 2});
  architecture.patch_size = {128, 128, 128};
  return architecture;
}

std::map<std::string, LayerDescription> by_name(const Architecture& architecture, int heads) {
  std::map<std::string, LayerDescription> layers;
  for (const LayerDescription& layer : e2enet::model::describe_layers(architecture, heads)) layers[layer.name] = layer;
  return layers;
}

}  // namespace

TEST_CASE("features double with the level up to the cap") {
  Architecture architecture = paper_architecture();
  const int expected[] = {48, 96, 192, 320, 320, 320};
  for (int level = 0; level <= 5; ++level) CHECK(architecture.features(level) == expected[level]);
  architecture.base_features = 400;
  CHECK(architecture.features(0) == 320);
}

TEST_CASE("the paper's network has its layers, each with the flows that meet in it") {
  const auto layers = by_name(paper_architecture(), 4);
  // 12 backbone blocks, 15 nodes with an upward flow, a second block on the 5 nodes of the last diagonal, 4 heads.
  CHECK(layers.size() == 12 + 15 + 15 + 5 + 4);
  CHECK(layers.at("backbone.0.0").source_channels() == std::vector<int>{1});
  CHECK(layers.at("backbone.1.0").source_channels() == std::vector<int>{48});
  CHECK(layers.at("backbone.1.0").stride == Extent{2, 2, 2});
  CHECK(layers.at("backbone.1.1").stride == Extent{1, 1, 1});
  CHECK(layers.at("fusion.0.1.0").source_channels() == std::vector<int>{48, 48});
  CHECK(layers.at("fusion.1.1.0").source_channels() == std::vector<int>{96, 96, 48});
  CHECK(layers.at("fusion.4.1.0").source_channels() == std::vector<int>{320, 320, 320});
  CHECK(layers.at("fusion.4.1.1").source_channels() == std::vector<int>{320});
  CHECK(layers.count("fusion.0.4.1") == 0);
  CHECK(layers.count("fusion.0.5.1") == 1);
  CHECK(layers.count("fusion.1.5.0") == 0);
  CHECK(layers.at("up.2.1").source_channels() == std::vector<int>{320});
  CHECK(layers.at("up.2.1").outputs == 192);
  CHECK(layers.at("up.2.1").taps() == 8);
  CHECK(layers.at("head.3").source_channels() == std::vector<int>{320});
  CHECK(layers.at("head.0").node == e2enet::model::Node{0, 5});
}

TEST_CASE("one pooling step is a network: two levels, one fusion node, two heads at most") {
  Architecture architecture = paper_architecture();
  architecture.pool_strides = {{1, 2, 3}};
  const auto layers = by_name(architecture, e2enet::model::largest_head_count(architecture));
  std::set<std::string> names;
  for (const auto& [name, layer] : layers) names.insert(name);
  CHECK(names == std::set<std::string>{"backbone.0.0", "backbone.0.1", "backbone.1.0", "backbone.1.1", "up.0.1",
                                       "fusion.0.1.0", "fusion.0.1.1", "head.0", "head.1"});
  CHECK(layers.at("up.0.1").taps() == 6);
  CHECK(architecture.patch_multiple() == Extent{1, 2, 3});
  CHECK(architecture.extent({4, 8, 9}, 1) == Extent{4, 4, 3});
}

// Random models of the paper's AMOS-CT configuration against its published figures (section 4, and docs/flops.md for
// the convention behind them).
TEST_CASE("parameters and FLOPs are the paper's at all four densities") {
  struct Published {
    const char* densities;
    double parameters, flops;
  };
  const Published published[] = {
      {R"("density": 1)", 23.90e6, 3069.55e9},
      {R"("density": 0.3, "fusion_density_by_level": {"0": 0.2})", 11.23e6, 969.32e9},
      {R"("density": 0.2)", 9.44e6, 778.74e9},
      {R"("density": 0.1)", 7.64e6, 492.29e9},
  };
  const e2enet::test::TemporaryFolder folder;
  for (const Published& expected : published) {
    CAPTURE(expected.densities);
    const std::string text = std::string(R"({"input_channels": 1, "classes": 16, "base_features": 48, "groups": 5,
      "pool_strides": [[2,2,2],[2,2,2],[2,2,2],[2,2,2],[2,2,2]], "patch_size": [128,128,128], )") +
                             expected.densities + "}";
    e2enet::model::write_random_model(text, "text", 0, folder.file("model"));
    const auto network = e2enet::model::load_model_file(folder.file("model"));
    CHECK(double(e2enet::model::count_parameters(*network)) == doctest::Approx(expected.parameters).epsilon(0.001));
    const e2enet::model::Flops flops = e2enet::model::count_flops(*network, network->architecture().patch_size);
    CHECK(flops.paper == doctest::Approx(expected.flops).epsilon(0.001));
    CHECK(flops.executed < flops.paper);
  }
}

// By hand, for the one-step network 1 -> 2 -> 4 features on a patch of 2x4x4: 32 voxels above, 4 below.
TEST_CASE("both conventions count what docs/flops.md says") {
  const e2enet::test::TemporaryFolder folder;
  e2enet::model::write_random_model(R"({"input_channels": 1, "classes": 3, "base_features": 2, "groups": 5,
      "pool_strides": [[2, 2, 2]], "patch_size": [2, 4, 4], "density": 0.5})",
                                    "text", 0, folder.file("model"));
  const auto network = e2enet::model::load_model_file(folder.file("model"));
  struct Expected {
    double kept, paper, executed;
  };
  const std::map<std::string, Expected> expected = {
      {"backbone.0.0", {2, 2 * 32 * (18 + 2), 2 * 32 * 18}},
      {"backbone.0.1", {4, 2 * 32 * (36 + 2), 2 * 32 * 36}},
      {"backbone.1.0", {8, 2 * 4 * (72 + 4), 2 * 4 * 72}},
      {"backbone.1.1", {16, 2 * 4 * (144 + 4), 2 * 4 * 144}},
      {"up.0.1", {4, 2 * 32 * 4 * 8, 2 * 4 * 4 * 8}},
      {"fusion.0.1.0", {4, 2 * 32 * (36 + 2), 2 * 32 * 36}},
      {"fusion.0.1.1", {2, 2 * 32 * (18 + 2), 2 * 32 * 18}},
      {"head.0", {6, 2 * 32 * 6, 2 * 32 * 6}},
      {"head.1", {12, 0, 0}},
  };
  CHECK(network->layers().size() == expected.size());
  for (const Layer& layer : network->layers()) {
    CAPTURE(layer.description.name);
    const Expected& figures = expected.at(layer.description.name);
    CHECK(double(layer.kept()) == figures.kept);
    const e2enet::model::Flops flops = count_flops(*network, layer, network->architecture().patch_size);
    CHECK(flops.paper == figures.paper);
    CHECK(flops.executed == figures.executed);
  }
  // Kernels as above, bias and two norm values an output of the 6 convolutions, head 0 and head 1.
  CHECK(e2enet::model::count_parameters(*network) ==
        18 + 36 + 72 + 144 + 32 + 36 + 18 + 6 + 12 + 3 * (2 + 2 + 4 + 4 + 2 + 2));
}
