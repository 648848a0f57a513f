// Every key of the configuration, wrong in every way: refused with the key's path, what was expected and what was
// found.
#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "e2enet/error.h"
#include "model/configuration.h"
#include "raw_model.h"

namespace {

using nlohmann::json;

std::string valid_text() {
  json configuration = json::parse(e2enet::test::small_configuration());
  configuration["format_version"] = 1;
  return configuration.dump();
}

void refused(const json& configuration, const std::string& field) {
  try {
    e2enet::model::parse_configuration(configuration.dump(), "model.safetensors", true);
    FAIL_CHECK("was taken: " << configuration.dump());
  } catch (const e2enet::Error& error) {
    const std::string message = error.what();
    CAPTURE(message);
    CHECK(error.code() == e2enet::ErrorCode::invalid_model);
    CHECK(message.find("model.safetensors: ") == 0);
    CHECK(message.find(field) != std::string::npos);
    CHECK(message.find("expected") != std::string::npos);
    CHECK(message.find("found") != std::string::npos);
    CHECK(message.find('\n') == std::string::npos);
    CHECK(message.size() < 300);
  }
}

struct Wrong {
  const char* pointer;  // JSON pointer of the value
  const char* field;    // how the message names it
  std::vector<const char*> values;
};

const std::vector<Wrong> kWrong = {
    {"/format_version", "e2enet.format_version", {"0", "2", "-1", "1.0", "\"1\"", "true", "[1]", "4294967297"}},
    {"/input_channels",
     "e2enet.input_channels",
     {"0", "-1", "16385", "1.5", "2.0", "\"2\"", "true", "[]", "{}", "4294967298", "18446744073709551615",
      "-9223372036854775808"}},
    {"/classes", "e2enet.classes", {"0", "-3", "32768", "3.0", "\"3\"", "false", "4294967299"}},
    {"/base_features", "e2enet.base_features", {"0", "-48", "16385", "48.5", "\"48\"", "[48]", "1e2"}},
    {"/max_features", "e2enet.max_features", {"0", "-1", "16385", "3.2e2", "\"320\"", "[]"}},
    {"/groups", "e2enet.groups", {"0", "-5", "4", "2", "256", "257", "5.0", "\"5\""}},
    {"/pool_strides",
     "e2enet.pool_strides",
     {"[]", "2", "\"2\"", "{}", "[2, 2, 2]", "[[2, 2]]", "[[2, 2, 2, 2]]", "[[]]",
      "[[1,2,2],[2,2,2],[1,1,1],[1,1,1],[1,1,1],[1,1,1],[1,1,1],[1,1,1],[1,1,1],[1,1,1],[1,1,1],[1,1,1],[1,1,1]]",
      "[[16,16,16],[16,16,16],[16,16,16],[16,16,16]]"}},
    {"/pool_strides/1",
     "e2enet.pool_strides[1]",
     {"2", "\"2\"", "[2, 2]", "[0, 2, 2]", "[2, -2, 2]", "[2, 2, 17]", "[2, 2.0, 2]", "[2, \"2\", 2]", "[2, null, 2]",
      "{}"}},
    {"/patch_size",
     "e2enet.patch_size",
     {"[]", "4", "\"4\"", "{}", "[4, 8]", "[4, 8, 12, 16]", "[0, 8, 12]", "[-4, 8, 12]", "[4.0, 8, 12]", "[3, 8, 12]",
      "[4, 6, 12]", "[4, 8, 13]", "[4, 8, 4100]", "[4096, 4096, 4096]", "[4, \"8\", 12]"}},
    {"/output", "e2enet.output", {"\"relu\"", "\"\"", "1", "true", "[]", "\"Softmax\""}},
    {"/labels",
     "e2enet.labels",
     {"[]", "[\"background\"]", "1", "\"liver\"", "true", R"({"3": "beyond the classes"})", R"({"-1": "x"})",
      R"({"a": "x"})", R"({"": "x"})", R"({"1.0": "x"})", R"({" 1": "x"})", R"({"01": "x"})", R"({"00": "x"})",
      R"({"99999": "x"})", R"({"999999999999999999999": "x"})", R"({"1": 1})", R"({"1": null})", R"({"1": ["x"]})",
      R"({"a\nb": "x"})"}},
    {"/mirror_axes",
     "e2enet.mirror_axes",
     {"[3]", "[-1]", "[0, 0]", "[0, 1, 2, 0]", "[0.0]", "[\"0\"]", "0", "{}", "true"}},
    {"/mirrored_labels",
     "e2enet.mirrored_labels",
     {"{}", "1", "\"12\"", "[1, 2]", "[[1]]", "[[1, 2, 1]]", "[[0, 1]]", "[[1, 3]]", "[[-1, 1]]", "[[1, 1]]",
      "[[1, 2], [2, 1]]", "[[1.0, 2]]", "[[\"1\", 2]]", "[[1, null]]", "[[1, 2], []]"}},
    {"/training_images", "e2enet.training_images", {"[]", "1", "{}"}},
    {"/training_images/extent_mm",
     "e2enet.training_images.extent_mm",
     {"[]", "{}", "[[1, 2], [1, 2]]", "[[1, 2], [1, 2], [2, 1]]", "[[1, 2], [1, 2], [1]]",
      "[[1, 2], [1, 2], [1, null]]"}},
    {"/training_images/input_quantiles",
     "e2enet.training_images.input_quantiles",
     {"[]", "{}", "[[[1, 2], [1, 2], [1, 2], [1, 2], [1, 2]]]", "[[], []]"}},
    {"/training_images/volumes_ml",
     "e2enet.training_images.volumes_ml",
     {"[]", R"({"3": [1, 2]})", R"({"1": [2, 1]})", R"({"1": 1})", R"({"liver": [1, 2]})"}},
    {"/preprocessing", "e2enet.preprocessing", {"[]", "1", "\"CT\"", "true"}},
    {"/preprocessing/spacing",
     "e2enet.preprocessing.spacing",
     {"[]", "[1, 1]", "[1, 1, 1, 1]", "[0, 1, 1]", "[1, -1, 1]", "[1, 1, 1e-9]", "[1, 1, 1e9]", "[1, 1, \"1\"]",
      "[1, 1, null]", "1", "\"1\"", "{}"}},
    {"/preprocessing/transpose_forward",
     "e2enet.preprocessing.transpose_forward",
     {"[]", "[0, 1]", "[0, 1, 1]", "[2, 1, 2]", "[0, 1, 3]", "[-1, 0, 1]", "[0.0, 1, 2]", "\"012\"", "{}",
      "[0, 1, 2, 3]"}},
    {"/preprocessing/orientation",
     "e2enet.preprocessing.orientation",
     {"\"\"", "\"RA\"", "\"RAX\"", "\"RRS\"", "\"RLS\"", "\"ras\"", "\"RASS\"", "1", "[]", "\"R\\u0000S\""}},
    {"/preprocessing/normalization",
     "e2enet.preprocessing.normalization",
     {"[]", "{}", "\"CT\"", "1", R"([{"scheme": "nonCT"}])",
      R"([{"scheme": "nonCT"}, {"scheme": "nonCT"}, {"scheme": "nonCT"}])"}},
    {"/preprocessing/normalization/1",
     "e2enet.preprocessing.normalization[1]",
     {"1", "\"CT\"", "[]", "{}", "null", R"({"scheme": "ct"})", R"({"scheme": ""})", R"({"scheme": 1})",
      R"({"scheme": null})", R"({"scheme": "CT"})", R"({"scheme": "CT", "clip": [0, 1]})",
      R"({"scheme": "CT", "clip": [0, 1], "mean": 0})", R"({"scheme": "CT", "clip": [0, 1], "sd": 1})",
      R"({"scheme": "CT2"})"}},
    {"/preprocessing/normalization/0/clip",
     "e2enet.preprocessing.normalization[0].clip",
     {"[]", "[1]", "[1, 2, 3]", "[2, 1]", "[\"0\", 1]", "[null, 1]", "1", "{}", "\"0,1\""}},
    {"/preprocessing/normalization/0/mean",
     "e2enet.preprocessing.normalization[0].mean",
     {"\"0\"", "[]", "true", "{}"}},
    {"/preprocessing/normalization/0/sd",
     "e2enet.preprocessing.normalization[0].sd",
     {"0", "-1", "\"1\"", "[]", "true"}},
    {"/preprocessing/normalization/1/use_mask",
     "e2enet.preprocessing.normalization[1].use_mask",
     {"1", "0", "\"true\"", "[]"}},
    {"/postprocessing", "e2enet.postprocessing", {"[]", "1", "\"all\""}},
    {"/postprocessing/largest_component",
     "e2enet.postprocessing.largest_component",
     {"1", "{}", "\"1\"", "[0]", "[-1]", "[40000]", "[1.0]", "[\"1\"]", "[null]", "true"}},
    {"/algorithm_name", "e2enet.algorithm_name", {"1", "\"\"", "\"a\\\\b\"", "\"a\\nb\"", "[]"}},
    {"/label_concepts",
     "e2enet.label_concepts",
     {"[]", "1", "{\"0\": {}}", "{\"7\": {}}", "{\"01\": {}}", "{\"x\": {}}", "{\"1\": 5}"}},
    {"/label_concepts/1/type",
     "e2enet.label_concepts.1.type",
     {"\"liver\"", "[]", "[\"1\", \"SCT\"]", "[1, \"SCT\", \"x\"]", "[\"12345678901234567\", \"SCT\", \"x\"]"}},
    {"/label_concepts/1/color", "e2enet.label_concepts.1.color", {"[1, 2]", "[1, 2, 256]", "[-1, 0, 0]", "\"red\""}},
    {"/provenance", "e2enet.provenance", {"[]", "1", "\"a trained model\"", "true"}},
};

}  // namespace

TEST_CASE("the configuration that all the others are made from is taken") {
  CHECK_NOTHROW(e2enet::model::parse_configuration(valid_text(), "model.safetensors", true));
}

TEST_CASE("each key that is wrong is refused by name") {
  for (const Wrong& wrong : kWrong) {
    for (const char* value : wrong.values) {
      CAPTURE(wrong.pointer);
      CAPTURE(value);
      json configuration = json::parse(valid_text());
      const json::json_pointer at(wrong.pointer);
      REQUIRE((configuration.contains(at) || std::string(wrong.pointer) == "/output"));
      configuration[at] = json::parse(value);
      refused(configuration, wrong.field);
    }
  }
}

TEST_CASE("each required key that is missing or null is refused by name") {
  for (const char* key :
       {"format_version", "input_channels", "classes", "base_features", "pool_strides", "patch_size"}) {
    CAPTURE(key);
    json configuration = json::parse(valid_text());
    configuration.erase(key);
    refused(configuration, std::string("\"") + key + "\"");
    configuration[key] = nullptr;
    refused(configuration, std::string("\"") + key + "\"");
  }
}

TEST_CASE("a number beyond double, or none, is refused") {
  std::string text = valid_text();
  text.replace(text.find("60.25"), 5, "1e400");
  CHECK_THROWS_AS(e2enet::model::parse_configuration(text, "model.safetensors", true), e2enet::Error);
  text.replace(text.find("1e400"), 5, "NaN");
  CHECK_THROWS_AS(e2enet::model::parse_configuration(text, "model.safetensors", true), e2enet::Error);
  text.replace(text.find("NaN"), 3, "Infinity");
  CHECK_THROWS_AS(e2enet::model::parse_configuration(text, "model.safetensors", true), e2enet::Error);
}

TEST_CASE("regions without their order, or with one that does not fit the classes, are refused") {
  json configuration = json::parse(valid_text());
  configuration["output"] = "sigmoid";
  refused(configuration, "\"region_order\"");
  for (const char* order :
       {"[1, 2]", "[1, 2, 3, 4]", "[0, 1, 2]", "[1, 2, 40000]", "[1, 2, \"3\"]", "[1, 2, 3.0]", "{}", "3"}) {
    CAPTURE(order);
    configuration["region_order"] = json::parse(order);
    refused(configuration, "e2enet.region_order");
  }
  configuration["region_order"] = {1, 2, 3};
  refused(configuration, "e2enet.mirrored_labels");  // regions may overlap: they have no other side
  configuration.erase("mirrored_labels");
  CHECK_NOTHROW(e2enet::model::parse_configuration(configuration.dump(), "model.safetensors", true));
}

TEST_CASE("a text that is no JSON object is refused") {
  for (const char* text :
       {"", " ", "[]", "1", "null", "\"x\"", "{", "{\"classes\": }", "{'classes': 3}", "{\"classes\": 3,}"}) {
    CAPTURE(text);
    try {
      e2enet::model::parse_configuration(text, "file.json", false);
      FAIL_CHECK("was taken");
    } catch (const e2enet::Error& error) {
      CHECK(error.code() == e2enet::ErrorCode::invalid_model);
      CHECK(std::string(error.what()).find("file.json") == 0);
    }
  }
}
