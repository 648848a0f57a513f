// What is written is what is read: by the library itself, from the converters' files, for random models.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "e2enet/error.h"
#include "model/model_file.h"
#include "model/random_model.h"
#include "raw_model.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace {

using e2enet::model::Layer;
using e2enet::model::LayerValues;
using e2enet::model::Network;
using e2enet::test::RawModel;
using e2enet::test::TemporaryFolder;

LayerValues values_of(const Layer& layer) {
  LayerValues values;
  const auto outputs = static_cast<std::size_t>(layer.description.outputs);
  if (layer.description.sparse()) {
    for (std::size_t o = 0; o < outputs; ++o) {
      for (std::int32_t k = layer.row_begin[o]; k < layer.row_begin[o + 1]; ++k) {
        values.connectivity.push_back(static_cast<std::int32_t>(o));
        values.connectivity.push_back(layer.input[static_cast<std::size_t>(k)]);
      }
    }
  }
  values.values.assign(layer.values, layer.values + layer.kept() * layer.description.taps());
  if (layer.bias) {
    values.bias.assign(layer.bias, layer.bias + outputs);
    values.norm_weight.assign(layer.norm_weight, layer.norm_weight + outputs);
    values.norm_bias.assign(layer.norm_bias, layer.norm_bias + outputs);
  }
  return values;
}

int heads_of(const Network& network) {
  int heads = 0;
  for (const Layer& layer : network.layers()) heads += layer.description.kind == e2enet::model::LayerKind::head;
  return heads;
}

void write_copy(const Network& network, const std::string& path) {
  std::vector<LayerValues> values;
  for (const Layer& layer : network.layers()) values.push_back(values_of(layer));
  e2enet::model::write_model_file(path, network.configuration(), heads_of(network), values);
}

}  // namespace

TEST_CASE("a model that is loaded and written again is the same file, byte for byte") {
  const TemporaryFolder folder;
  e2enet::test::write_bytes(folder.file("first"), e2enet::test::small_model_bytes());
  write_copy(*e2enet::model::load_model_file(folder.file("first")), folder.file("second"));
  CHECK(e2enet::test::read_bytes(folder.file("second")) == e2enet::test::small_model_bytes());
}

TEST_CASE("every key of the configuration survives the file") {
  const TemporaryFolder folder;
  e2enet::test::write_bytes(folder.file("model"), e2enet::test::small_model_bytes());
  const auto network = e2enet::model::load_model_file(folder.file("model"));
  const e2enet::model::Configuration& configuration = network->configuration();
  CHECK(configuration.architecture.input_channels == 2);
  CHECK(configuration.architecture.classes == 3);
  CHECK(configuration.architecture.base_features == 4);
  CHECK(configuration.architecture.max_features == 12);
  CHECK(configuration.architecture.groups == 3);
  CHECK(configuration.architecture.pool_strides == std::vector<e2enet::Extent>{{1, 2, 2}, {2, 2, 2}});
  CHECK(configuration.architecture.patch_size == e2enet::Extent{4, 8, 12});
  CHECK(configuration.labels == std::map<int, std::string>{{0, "background"}, {1, "liver"}, {2, "tumour"}});
  CHECK(configuration.mirror_axes == std::vector<int>{1, 2});
  CHECK(configuration.mirrored_labels == std::vector<std::array<int, 2>>{{2, 1}});
  CHECK(configuration.largest_component == std::vector<int>{1});
  CHECK(configuration.algorithm_name == "liver finder");
  REQUIRE(configuration.label_concepts.size() == 2);
  const e2enet::model::LabelConcept& liver = configuration.label_concepts.at(1);
  CHECK(liver.category == std::array<std::string, 3>{"123037004", "SCT", "Anatomical Structure"});
  CHECK(liver.type == std::array<std::string, 3>{"10200004", "SCT", "Liver"});
  CHECK(liver.color == std::array<int, 3>{1, 20, 255});
  CHECK(configuration.label_concepts.at(2).type[0].empty());
  CHECK_FALSE(configuration.label_concepts.at(2).color.has_value());
  REQUIRE(configuration.training_images.has_value());
  CHECK(configuration.training_images->extent_mm[1].low == 30.5);
  CHECK(configuration.training_images->extent_mm[2].high == 50);
  REQUIRE(configuration.training_images->quantiles.size() == 2);
  CHECK(configuration.training_images->quantiles[1][4].high == 4);
  CHECK(configuration.training_images->volumes_ml.at(1).high == 2000.5);
  CHECK(configuration.training_images->volumes_ml.size() == 2);
  CHECK(configuration.preprocessing.spacing.value() == std::array<double, 3>{2.5, 0.75, 0.75});
  CHECK(configuration.preprocessing.transpose_forward == std::array<int, 3>{1, 0, 2});
  CHECK(configuration.preprocessing.orientation == "LPS");
  REQUIRE(configuration.preprocessing.normalization.size() == 2);
  CHECK(configuration.preprocessing.normalization[0].scheme == e2enet::model::NormalizationScheme::ct);
  CHECK(configuration.preprocessing.normalization[0].clip_low == -100);
  CHECK(configuration.preprocessing.normalization[0].clip_high == 250.5);
  CHECK(configuration.preprocessing.normalization[0].mean == 40);
  CHECK(configuration.preprocessing.normalization[0].standard_deviation == 60.25);
  CHECK_FALSE(configuration.preprocessing.normalization[0].use_mask);
  CHECK(configuration.preprocessing.normalization[1].scheme == e2enet::model::NormalizationScheme::non_ct);
  CHECK(configuration.preprocessing.normalization[1].use_mask);
  CHECK(nlohmann::json::parse(configuration.provenance) ==
        nlohmann::json::parse(R"({"data": "none", "licence": "CC0-1.0", "scores": {"dice": [0.5, 1]}})"));
}

TEST_CASE("keys that are absent take the documented defaults") {
  const e2enet::model::Configuration configuration = e2enet::model::parse_configuration(
      R"({"format_version": 1, "input_channels": 2, "classes": 3, "base_features": 8, "pool_strides": [[2, 2, 2]],
          "patch_size": [8, 8, 8], "preprocessing": {"orientation": null}})",
      "text", true);
  CHECK(configuration.architecture.max_features == 320);
  CHECK(configuration.architecture.groups == 5);
  CHECK(configuration.output == e2enet::model::OutputKind::softmax);
  CHECK(configuration.labels == std::map<int, std::string>{{0, "background"}, {1, "label 1"}, {2, "label 2"}});
  CHECK(configuration.mirror_axes == std::vector<int>{0, 1, 2});
  CHECK(configuration.mirrored_labels.empty());
  CHECK_FALSE(configuration.training_images.has_value());
  CHECK_FALSE(e2enet::model::left_right_axis(configuration.preprocessing).has_value());
  CHECK_FALSE(configuration.preprocessing.spacing.has_value());
  CHECK(configuration.preprocessing.transpose_forward == std::array<int, 3>{0, 1, 2});
  CHECK(configuration.preprocessing.orientation.empty());
  REQUIRE(configuration.preprocessing.normalization.size() == 2);
  CHECK(configuration.preprocessing.normalization[1].scheme == e2enet::model::NormalizationScheme::non_ct);
  CHECK_FALSE(configuration.preprocessing.normalization[1].use_mask);
  CHECK(configuration.largest_component.empty());
  CHECK(configuration.algorithm_name.empty());
  CHECK(configuration.label_concepts.empty());
  CHECK(configuration.provenance == "{}");
}

TEST_CASE("regions, their order and their labels survive the text") {
  const std::string text =
      R"({"format_version": 1, "input_channels": 1, "classes": 3, "base_features": 8, "pool_strides": [[1, 1, 1]],
          "patch_size": [8, 8, 8], "output": "sigmoid", "region_order": [2, 1, 4], "labels": {"4": "core"}})";
  const auto first = e2enet::model::parse_configuration(text, "text", true);
  const auto second = e2enet::model::parse_configuration(e2enet::model::configuration_text(first), "text", true);
  for (const auto& configuration : {first, second}) {
    CHECK(configuration.output == e2enet::model::OutputKind::sigmoid);
    CHECK(configuration.region_order == std::vector<int>{2, 1, 4});
    CHECK(configuration.labels ==
          std::map<int, std::string>{{0, "background"}, {1, "label 1"}, {2, "label 2"}, {4, "core"}});
  }
}

TEST_CASE("a configuration is written as JSON with its keys in order, whatever it says") {
  const std::string text =
      R"({"format_version": 1, "input_channels": 2, "classes": 12, "base_features": 8, "max_features": 64, "groups": 3,
          "pool_strides": [[1, 2, 2], [2, 2, 2]], "patch_size": [8, 16, 16], "mirror_axes": [2],
          "mirrored_labels": [[1, 2], [10, 11]], "algorithm_name": "of \"ours\"",
          "labels": {"0": "background", "1": "left", "2": "right", "10": "ä", "11": "b"},
          "label_concepts": {"10": {"type": ["1", "SCT", "x"], "category": ["2", "SCT", "y"], "color": [1, 2, 3]},
                             "2": {"category": ["2", "SCT", "y"], "type": ["1", "SCT", "x"]}},
          "preprocessing": {"orientation": "RAS", "spacing": [1, 0.1, 1e-3], "transpose_forward": [2, 0, 1],
                            "normalization": [{"scheme": "CT", "clip": [-3, 1e20], "mean": 0.1, "sd": 2},
                                              {"scheme": "nonCT", "use_mask": true}]},
          "postprocessing": {"largest_component": [1, 10]},
          "training_images": {"extent_mm": [[1, 2], [3, 4], [5, 6]], "volumes_ml": {"2": [1, 2], "10": [0.5, 3]},
                              "input_quantiles": [[[1,2],[1,2],[1,2],[1,2],[1,2]], [[1,2],[1,2],[1,2],[1,2],[1,2]]]},
          "provenance": {"z": [1, {"b": null}], "a": "text"}})";
  const auto configuration = e2enet::model::parse_configuration(text, "text", true);
  const std::string written = e2enet::model::configuration_text(configuration);
  CHECK(written == nlohmann::json::parse(written).dump());
  CHECK(e2enet::model::configuration_text(e2enet::model::parse_configuration(written, "text", true)) == written);
  const nlohmann::json given = nlohmann::json::parse(text), found = nlohmann::json::parse(written);
  for (const auto& [key, value] : given.items()) {
    CAPTURE(key);
    if (key == "labels") continue;  // every class has a name there
    CHECK(nlohmann::json::diff(value, found.at(key)).size() <= (key == "preprocessing" ? 1U : 0U));  // use_mask
  }
}

TEST_CASE("files that the Python converters wrote load with every value as written") {
  for (const char* file : {"tests/data/networks/net_A.safetensors", "tests/data/networks/net_B.safetensors"}) {
    CAPTURE(file);
    const std::string path = e2enet::test::source_path(file);
    const auto network = e2enet::model::load_model_file(path);
    const RawModel raw = RawModel::parse(e2enet::test::read_bytes(path));
    std::size_t tensors = 0;
    for (const Layer& layer : network->layers()) {
      CAPTURE(layer.description.name);
      const LayerValues values = values_of(layer);
      const auto expect = [&](const std::string& suffix, const void* data, std::size_t bytes) {
        const std::string name = layer.description.name + suffix;
        CAPTURE(name);
        REQUIRE(raw.header.contains(name));
        const auto& offsets = raw.header[name]["data_offsets"];
        REQUIRE(offsets[1].get<std::size_t>() - offsets[0].get<std::size_t>() == bytes);
        CHECK(std::memcmp(raw.data.data() + offsets[0].get<std::size_t>(), data, bytes) == 0);
        ++tensors;
      };
      if (layer.description.sparse())
        expect(".connectivity", values.connectivity.data(), values.connectivity.size() * 4);
      expect(layer.description.sparse() ? ".kernels" : ".weight", values.values.data(), values.values.size() * 4);
      if (layer.description.convolution()) {
        expect(".bias", values.bias.data(), values.bias.size() * 4);
        expect(".norm_weight", values.norm_weight.data(), values.norm_weight.size() * 4);
        expect(".norm_bias", values.norm_bias.data(), values.norm_bias.size() * 4);
      }
    }
    CHECK(tensors == raw.header.size() - 1);  // without __metadata__
  }
}

TEST_CASE("a model without the heads of deep supervision loads") {
  RawModel raw = RawModel::parse(e2enet::test::small_model_bytes());
  raw.remove("head.1.weight");
  raw.remove("head.2.weight");
  const TemporaryFolder folder;
  e2enet::test::write_bytes(folder.file("model"), raw.bytes());
  CHECK(heads_of(*e2enet::model::load_model_file(folder.file("model"))) == 1);
}

TEST_CASE("random models: a seed gives one file, another seed another, and layers have exactly their density") {
  const TemporaryFolder folder;
  const std::string text = e2enet::test::small_configuration();
  const auto write = [&](const char* name, std::uint64_t seed) {
    e2enet::model::write_random_model(text, "small", seed, folder.file(name));
    return e2enet::test::read_bytes(folder.file(name));
  };
  const std::string first = write("a", 1);
  CHECK(write("b", 1) == first);
  CHECK(write("c", 2) != first);
  // The same on every machine and for every version: measurements of a seed can be repeated elsewhere.
  std::uint32_t sum = 2166136261u;
  const RawModel raw = RawModel::parse(first);
  const std::size_t at = raw.begin("up.0.1.connectivity");
  const std::size_t end = raw.header["up.0.1.connectivity"]["data_offsets"][1].get<std::size_t>();
  for (std::size_t i = at; i < end; ++i) sum = (sum ^ static_cast<unsigned char>(raw.data[i])) * 16777619u;
  CHECK(sum == 91775188u);

  const auto network = e2enet::model::load_model_file(folder.file("a"));
  for (const Layer& layer : network->layers()) {
    CAPTURE(layer.description.name);
    double density = 1;
    if (layer.description.sparse()) density = 0.3;
    if (layer.description.kind == e2enet::model::LayerKind::fusion_convolution && layer.description.node.level == 0) {
      density = 0.5;
    }
    const double pairs = double(layer.description.outputs) * layer.description.inputs();
    CHECK(layer.kept() == std::llround(density * pairs));
  }
}

TEST_CASE("a random model refuses densities that are none") {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& density, const std::string& field) {
    nlohmann::json json = nlohmann::json::parse(e2enet::test::small_configuration());
    json.update(nlohmann::json::parse(density));
    CAPTURE(density);
    try {
      e2enet::model::write_random_model(json.dump(), "file.json", 1, folder.file("model"));
      FAIL_CHECK("was taken");
    } catch (const e2enet::Error& error) {
      CHECK(error.code() == e2enet::ErrorCode::invalid_model);
      CHECK(std::string(error.what()).find("file.json") != std::string::npos);
      CHECK(std::string(error.what()).find(field) != std::string::npos);
    }
    CHECK_FALSE(std::filesystem::exists(folder.file("model")));
  };
  refused(R"({"density": 1.5})", "density");
  refused(R"({"density": -0.1})", "density");
  refused(R"({"density": "much"})", "density");
  refused(R"({"fusion_density_by_level": {"0": 2}})", "fusion_density_by_level.0");
  refused(R"({"fusion_density_by_level": {"2": 0.5}})", "fusion_density_by_level.2");
  refused(R"({"fusion_density_by_level": {"x": 0.5}})", "fusion_density_by_level.x");
  refused(R"({"fusion_density_by_level": {"00": 0.5}})", "fusion_density_by_level.00");
  refused(R"({"fusion_density_by_level": [0.5]})", "fusion_density_by_level");
  refused(R"({"fusion_density_by_level": 0.5})", "fusion_density_by_level");
}

TEST_CASE("densities 0 and 1 are models too") {
  for (const char* density : {"0", "1"}) {
    nlohmann::json json = nlohmann::json::parse(e2enet::test::small_configuration());
    json["density"] = nlohmann::json::parse(density);
    json.erase("fusion_density_by_level");
    const TemporaryFolder folder;
    e2enet::model::write_random_model(json.dump(), "text", 3, folder.file("model"));
    const auto network = e2enet::model::load_model_file(folder.file("model"));
    for (const Layer& layer : network->layers()) {
      CAPTURE(layer.description.name);
      CHECK(layer.density() == (layer.description.sparse() ? json["density"].get<double>() : 1.0));
    }
  }
}

TEST_CASE("a model file that cannot be written leaves nothing and says where") {
  const TemporaryFolder folder;
  const std::string path = folder.file("no such folder/model.safetensors");
  try {
    e2enet::model::write_random_model(e2enet::test::small_configuration(), "small", 1, path);
    FAIL("was written");
  } catch (const e2enet::Error& error) {
    CHECK(error.code() == e2enet::ErrorCode::cannot_write);
    CHECK(std::string(error.what()).find(path) != std::string::npos);
  }
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("left and right lie where orientation and transposition put them") {
  const auto axis_of = [](const std::string& orientation, const std::array<int, 3>& order) {
    e2enet::model::Preprocessing preprocessing;
    preprocessing.orientation = orientation;
    preprocessing.transpose_forward = order;
    return e2enet::model::left_right_axis(preprocessing).value_or(-1);
  };
  CHECK(axis_of("RAS", {0, 1, 2}) == 2);  // i is the last axis of the array
  CHECK(axis_of("PSR", {0, 1, 2}) == 0);
  CHECK(axis_of("ALS", {0, 1, 2}) == 1);
  CHECK(axis_of("RAS", {2, 0, 1}) == 0);
  CHECK(axis_of("LPI", {1, 2, 0}) == 1);
  CHECK(axis_of("PSR", {1, 2, 0}) == 2);
  CHECK(axis_of("", {0, 1, 2}) == -1);
}

TEST_CASE("mirrored labels need an orientation and labels that exclude each other") {
  const auto parse = [](const std::string& more) {
    return e2enet::model::parse_configuration(
        R"({"input_channels": 1, "classes": 3, "base_features": 2, "pool_strides": [[2, 2, 2]],
            "patch_size": [8, 8, 8], "mirrored_labels": [[1, 2]])" +
            more + "}",
        "text", false);
  };
  CHECK(parse(R"(, "preprocessing": {"orientation": "RAS"})").mirrored_labels.size() == 1);
  CHECK_THROWS_WITH_AS(parse(""), doctest::Contains("e2enet.mirrored_labels: expected preprocessing.orientation"),
                       e2enet::Error);
  CHECK_THROWS_WITH_AS(
      parse(R"(, "output": "sigmoid", "region_order": [1, 2, 3], "preprocessing": {"orientation": "RAS"})"),
      doctest::Contains("e2enet.mirrored_labels: expected none with the output sigmoid"), e2enet::Error);
}
