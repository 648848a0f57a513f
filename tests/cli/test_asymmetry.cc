// Left against right: which labels are the two sides of a structure, and what the program says of their volumes.
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "e2enet/json.h"
#include "labels/label_counter.h"
#include "model/label_sides.h"
#include "program_fixture.h"

namespace {

using e2enet::LabelStatistics;
using e2enet::SidePair;
using e2enet::imaging::asymmetries;
using e2enet::model::side_pairs;
using e2enet::test::read_file;
using e2enet::test::Result;
using e2enet::test::Workshop;
using e2enet::test::write_file;
using nlohmann::json;

TEST_CASE("sides are told by names in any of their usual forms, whichever comes first") {
  const std::vector<SidePair> pairs = side_pairs({{1, "right caudate"},
                                                  {2, "brainstem"},
                                                  {3, "left caudate"},
                                                  {4, "Hippocampus_L"},
                                                  {5, "Hippocampus_R"},
                                                  {6, "left putamen"},
                                                  {7, "upright thing"}});
  REQUIRE(pairs.size() == 2);
  CHECK(pairs[0].structure == "caudate");
  CHECK(pairs[0].left == 3);
  CHECK(pairs[0].right == 1);
  CHECK(pairs[1].structure == "hippocampus");
  CHECK(pairs[1].left == 4);
  CHECK(pairs[1].right == 5);
}

TEST_CASE("where a model names its mirrored labels, no other pair is made of names") {
  e2enet::model::Configuration configuration;
  configuration.labels = {{1, "left a"}, {2, "right a"}, {3, "left b"}, {4, "right b"}};
  CHECK(side_pairs(configuration).size() == 2);
  configuration.mirrored_labels = {{4, 3}};
  const std::vector<SidePair> pairs = side_pairs(configuration);
  REQUIRE(pairs.size() == 1);
  CHECK(pairs[0].left == 3);
  CHECK(pairs[0].right == 4);
}

TEST_CASE("the asymmetry is left minus right in percent of their mean, and none where neither side was found") {
  std::map<int, LabelStatistics> statistics;
  statistics[1].ml = 3;
  statistics[2].ml = 1;
  statistics[4].ml = 2;
  const auto found = asymmetries({{"a", 1, 2}, {"b", 3, 4}, {"c", 5, 6}}, statistics);
  REQUIRE(found.size() == 3);
  CHECK(found[0].percent().value() == doctest::Approx(100));
  CHECK(found[1].percent().value() == doctest::Approx(-200));
  CHECK(!found[2].percent().has_value());
  const json as_json = json::parse(e2enet::asymmetry_json(found));
  CHECK(as_json[1]["asymmetry_percent"] == doctest::Approx(-200));
  CHECK(as_json[2]["asymmetry_percent"].is_null());
}

void make_sided_model(const Workshop& shop, const std::string& labels) {
  write_file(shop.path("config.json"), R"({"input_channels": 1, "classes": 3, "base_features": 4,
      "patch_size": [8, 16, 16], "pool_strides": [[1, 2, 2], [2, 2, 2]], "density": 0.5, "labels": )" +
                                           labels + "}");
  REQUIRE(shop.run({"random", "-o", "model.safetensors", "--config", "config.json", "--seed", "3"}).code == 0);
}

TEST_CASE("the program's table, JSON and statistics compare the sides of a model that has them") {
  const Workshop shop;
  make_sided_model(shop, R"({"0": "background", "1": "right thing", "2": "left thing"})");
  Workshop::make_image(shop.path("image.nii"));
  const Result table = shop.run({"segment", "-m", "model.safetensors", "-i", "image.nii", "-o", "labels.nii"});
  CAPTURE(table.errors);
  REQUIRE(table.code == 0);
  CHECK(table.output.find("left mL") != std::string::npos);
  const Result result = shop.run({"segment", "-m", "model.safetensors", "-i", "image.nii", "-o", "labels.nii",
                                  "--statistics", "volumes.json", "--json"});
  REQUIRE(result.code == 0);
  for (const std::string& text : {result.output, read_file(shop.path("volumes.json"))}) {
    const json one = json::parse(text);
    REQUIRE(one.at("asymmetry").size() == 1);
    const json& pair = one.at("asymmetry")[0];
    const double left = one.at("labels").at("2").at("ml"), right = one.at("labels").at("1").at("ml");
    REQUIRE(left + right > 0);
    CHECK(pair.at("structure") == "thing");
    CHECK(pair.at("left_label") == 2);
    CHECK(pair.at("right_label") == 1);
    CHECK(pair.at("left_ml") == left);
    CHECK(pair.at("right_ml") == right);
    CHECK(pair.at("asymmetry_percent").get<double>() == doctest::Approx(200 * (left - right) / (left + right)));
  }
}

TEST_CASE("a model without sides says nothing of them") {
  const Workshop shop;
  make_sided_model(shop, R"({"0": "background", "1": "first", "2": "second"})");
  Workshop::make_image(shop.path("image.nii"));
  const Result result = shop.run({"segment", "-m", "model.safetensors", "-i", "image.nii", "-o", "labels.nii"});
  REQUIRE(result.code == 0);
  CHECK(result.output.find("left mL") == std::string::npos);
  const Result as_json =
      shop.run({"segment", "-m", "model.safetensors", "-i", "image.nii", "-o", "labels.nii", "--json"});
  CHECK(!json::parse(as_json.output).contains("asymmetry"));
}

}  // namespace
