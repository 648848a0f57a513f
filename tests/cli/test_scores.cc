// evaluate and tradeoff through the program where scores would mislead: missed structures, other places, odd labels.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/tradeoff_plot.h"
#include "program_fixture.h"

namespace {

namespace fs = std::filesystem;
using e2enet::Geometry;
using e2enet::imaging::NiftiHeader;
using e2enet::test::read_file;
using e2enet::test::Result;
using e2enet::test::Workshop;
using nlohmann::json;

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Label 1 in the columns below 4, label 2 in those from 10 on; `missed` is left out.
void make_labels(const std::string& path, int missed = 0, const Geometry& at = {}) {
  Geometry geometry = at;
  geometry.shape = {6, 6, 20};
  std::vector<std::uint16_t> labels(std::size_t(geometry.voxels()), 0);
  for (std::int64_t i = 0; i < geometry.voxels(); ++i) {
    const int label = i % 20 < 4 ? 1 : i % 20 >= 10 ? 2 : 0;
    if (label != missed) labels[std::size_t(i)] = std::uint16_t(label);
  }
  e2enet::imaging::write_labels(path, NiftiHeader::from_geometry(geometry), labels.data(), 2);
}

Geometry at_x(double mm) {
  Geometry geometry;
  geometry.affine[3] = mm;
  return geometry;
}

Geometry mirrored() {
  Geometry geometry;
  geometry.affine[0] = -1;
  geometry.affine[3] = 19;
  return geometry;
}

TEST_CASE("a structure that is missed makes the mean HD95 infinite in table, CSV and JSON, with the pairs counted") {
  const Workshop shop;
  fs::create_directories(shop.path("p"));
  fs::create_directories(shop.path("r"));
  make_labels(shop.path("p/a.nii"));
  make_labels(shop.path("r/a.nii"));
  make_labels(shop.path("p/b.nii"), 1);
  make_labels(shop.path("r/b.nii"));
  make_labels(shop.path("p/c.nii"), 2);
  make_labels(shop.path("r/c.nii"), 2);  // label 2 in neither: not scored
  const Result table = shop.run({"evaluate", "-p", "p", "-r", "r", "--csv", "s.csv", "-q"});
  REQUIRE(table.code == 0);
  CAPTURE(table.output);
  CHECK(contains(table.output, "inf (1 of 3, else 0.00 ± 0.00)"));
  CHECK(contains(table.output, "inf (1 of 5)"));
  CHECK(contains(table.output, "2 of 3\n"));
  CHECK(contains(table.output, "5 of 6\n"));
  CHECK(contains(table.output, "0.6667"));  // label 1's Dice: the missed one counts as 0
  const std::string csv = read_file(shop.path("s.csv"));
  CHECK(contains(csv, "\nb,1,,0.000000,0.000000,inf,0,144,"));
  CHECK(contains(csv, "\nc,2,,,,,0,0,"));
  const Result result = shop.run({"evaluate", "-p", "p", "-r", "r", "--json"});
  REQUIRE(result.code == 0);
  const json scores = json::parse(result.output);
  CHECK(scores.at("mean_hd95").is_null());
  CHECK(scores.at("hd95_infinite") == 1);
  CHECK(scores.at("pairs_scored") == 5);
  CHECK(scores.at("pairs_not_scored") == 1);
  CHECK(scores.at("mean_dice").get<double>() == doctest::Approx((2.0 / 3 + 1) / 2));
  CHECK(scores.at("mean_nsd").get<double>() == doctest::Approx((2.0 / 3 + 1) / 2));
  const json& first = scores.at("labels").at("1");
  CHECK(first.at("hd95").is_null());
  CHECK(first.at("hd95_infinite") == 1);
  CHECK(first.at("hd95_finite") == 0.0);
  CHECK(first.at("cases_scored") == 3);
  CHECK(scores.at("labels").at("2").at("hd95") == 0.0);
  CHECK(scores.at("labels").at("2").at("cases_scored") == 2);
  CHECK(scores.at("labels").at("2").at("cases_not_scored") == 1);
}

TEST_CASE("evaluate tells of volumes at different places in every form of output, and --quiet does not hush it") {
  const Workshop shop;
  make_labels(shop.path("p.nii"), 0, at_x(0));
  make_labels(shop.path("r.nii"), 0, at_x(12));
  const std::vector<std::string> call{"evaluate", "-q", "-p", "p.nii", "-r", "r.nii", "--csv", "s.csv"};
  const Result table = shop.run(call);
  REQUIRE(table.code == 0);
  CHECK(contains(table.output, "warning: case p:"));
  CHECK(contains(table.output, "12.00 mm apart"));
  CHECK(contains(read_file(shop.path("s.csv")), ",place: voxels up to 12.00 mm apart\n"));
  auto as_json = call;
  as_json.push_back("--json");
  const json scores = json::parse(shop.run(as_json).output);
  CHECK(scores.at("geometry_differs") == true);
  CHECK(scores.at("cases").at(0).at("geometry_differs") == true);
  CHECK(contains(scores.at("cases").at(0).at("geometry_difference"), "12.00 mm apart"));
  // At one place there is nothing to tell.
  as_json[5] = "p.nii";
  const json same = json::parse(shop.run(as_json).output);
  CHECK(same.at("geometry_differs") == false);
  CHECK_FALSE(same.at("cases").at(0).contains("geometry_difference"));
}

TEST_CASE("evaluate refuses another orientation unless it is told to compare voxels all the same") {
  const Workshop shop;
  make_labels(shop.path("p.nii"));
  make_labels(shop.path("r.nii"), 0, mirrored());
  const std::vector<std::string> call{"evaluate", "-q", "-p", "p.nii", "-r", "r.nii", "--json"};
  const Result refused = shop.run(call);
  CHECK(refused.code == 1);
  CHECK(refused.output.empty());
  CHECK(std::count(refused.errors.begin(), refused.errors.end(), '\n') == 1);
  CHECK(contains(refused.errors, "p.nii: expected the orientation of r.nii"));
  CHECK(contains(refused.errors, "RAS instead of LAS"));
  auto ignoring = call;
  ignoring.push_back("--ignore-geometry");
  const Result compared = shop.run(ignoring);
  REQUIRE(compared.code == 0);
  CHECK(json::parse(compared.output).at("geometry_differs") == true);
}

TEST_CASE("evaluate does not score the background, and says which labels a model does not have") {
  const Workshop shop;
  make_labels(shop.path("p.nii"));
  const Result background = shop.run({"evaluate", "-p", "p.nii", "-r", "p.nii", "--labels", "0,1"});
  CHECK(background.code == 2);
  CHECK(contains(background.errors, "0 is the background"));
  shop.make_model("model.safetensors");  // labels 1 and 2
  std::vector<std::uint16_t> labels(6 * 6 * 20, 257);
  labels[0] = 1;
  Geometry geometry;
  geometry.shape = {6, 6, 20};
  e2enet::imaging::write_labels(shop.path("r.nii"), NiftiHeader::from_geometry(geometry), labels.data(), 257);
  const Result table = shop.run({"evaluate", "-q", "-p", "p.nii", "-r", "r.nii", "-m", "model.safetensors"});
  CHECK(contains(table.output, "no such labels: 257"));
  const Result scores = shop.run({"evaluate", "-q", "-p", "p.nii", "-r", "r.nii", "-m", "model.safetensors", "--json"});
  CHECK(json::parse(scores.output).at("labels_left_out") == json::array({257}));
}

TEST_CASE("evaluate rounds labels that were stored as floats, and refuses what is between two labels") {
  const Workshop shop;
  Geometry geometry;
  geometry.shape = {6, 6, 20};
  std::vector<float> values(6 * 6 * 20);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = i % 20 < 4 ? 0.99998F : i % 20 >= 10 ? 2.0003F : -0.00001F;
  }
  const NiftiHeader header = NiftiHeader::from_geometry(geometry);
  e2enet::imaging::write_volumes(shop.path("r.nii"), header, values.data(), 1);
  make_labels(shop.path("p.nii"));
  const Result result = shop.run({"evaluate", "-p", "p.nii", "-r", "r.nii", "--json"});
  REQUIRE(result.code == 0);
  CHECK(json::parse(result.output).at("mean_dice") == 1.0);
  CHECK(json::parse(result.output).at("labels").size() == 2);
  values[23] = 1.5F;
  e2enet::imaging::write_volumes(shop.path("r.nii"), header, values.data(), 1);
  const Result refused = shop.run({"evaluate", "-p", "p.nii", "-r", "r.nii", "--json"});
  CHECK(refused.code == 1);
  CHECK(contains(refused.errors, "r.nii: voxel (3, 1, 0)"));
}

// An image with the model's own labels as reference.
void make_case(const Workshop& shop) {
  shop.make_model("model.safetensors");
  fs::create_directories(shop.path("i"));
  fs::create_directories(shop.path("r"));
  Workshop::make_image(shop.path("i/a.nii"), 4);
  REQUIRE(shop.run({"segment", "-m", "model.safetensors", "-i", "i/a.nii", "-o", "r/a.nii"}).code == 0);
}

// Writes the reference anew with its labels changed and its affine moved.
template <typename Change>
void change_reference(const Workshop& shop, const Change& change) {
  auto image = e2enet::imaging::read_labels(shop.path("r/a.nii"));
  change(image.labels, image.geometry.affine);
  e2enet::imaging::write_labels(shop.path("r/a.nii"), NiftiHeader::from_geometry(image.geometry), image.labels.data(),
                                257);
}

TEST_CASE("tradeoff: a missed structure is infinite in table, CSV, Markdown, plot and JSON") {
  const Workshop shop;
  make_case(shop);
  change_reference(shop, [](std::vector<std::uint16_t>& labels, e2enet::Affine&) {
    std::replace(labels.begin(), labels.end(), std::uint16_t{2}, std::uint16_t{257});  // 2 is now invented
  });
  const std::vector<std::string> call{"tradeoff", "-q",    "-m",    "model.safetensors", "-i",  "i", "-r", "r", "--csv",
                                      "t.csv",    "--svg", "t.svg", "--markdown",        "t.md"};
  const Result table = shop.run(call);
  CAPTURE(table.errors);
  REQUIRE(table.code == 0);
  CHECK(contains(table.output, "inf (1 of 2)"));
  CHECK(contains(table.output, "no such labels: 257"));
  CHECK(contains(read_file(shop.path("t.md")), "inf (1 of 2) |"));
  CHECK(contains(read_file(shop.path("t.md")), "no such labels: 257"));
  const std::string csv = read_file(shop.path("t.csv"));
  CHECK(contains(csv, ",inf,1,1,0,2,0,,,,,\n"));
  CHECK(contains(csv, "0.500000,0.500000,inf,"));
  const std::string plot = read_file(shop.path("t.svg"));
  CHECK(contains(plot, ">inf</text>"));
  CHECK(contains(plot, "HD95 inf (1 of 2) mm"));
  CHECK(contains(plot, "no such labels: 257"));
  auto as_json = call;
  as_json.push_back("--json");
  const json model = json::parse(shop.run(as_json).output).at("models").at(0);
  CHECK(model.at("mean_hd95").is_null());
  CHECK(model.at("hd95_infinite") == 1);
  CHECK(model.at("pairs_scored") == 2);
  CHECK(model.at("labels").at("1").at("hd95") == 0.0);
  CHECK(model.at("labels").at("2").at("hd95_infinite") == 1);
  CHECK(model.at("labels").at("2").at("dice") == 0.0);
}

TEST_CASE("tradeoff tells of references at other places in every form of output, and refuses other orientations") {
  const Workshop shop;
  make_case(shop);
  change_reference(shop, [](std::vector<std::uint16_t>&, e2enet::Affine& affine) { affine[3] += 12; });
  const std::vector<std::string> call{"tradeoff", "-q",    "-m",    "model.safetensors", "-i",  "i", "-r", "r", "--csv",
                                      "t.csv",    "--svg", "t.svg", "--markdown",        "t.md"};
  const Result table = shop.run(call);
  REQUIRE(table.code == 0);
  CHECK(contains(table.output, "warning: case a: image and reference differ"));
  CHECK(contains(table.output, "12.00 mm apart"));
  CHECK(contains(read_file(shop.path("t.csv")), "geometry_differs,"));
  CHECK(contains(read_file(shop.path("t.csv")), ",2,1,,,,,\n"));
  CHECK(contains(read_file(shop.path("t.md")), "warning: 1 of 1 cases"));
  CHECK(contains(read_file(shop.path("t.svg")), "warning: 1 of 1 cases"));
  auto as_json = call;
  as_json.push_back("--json");
  const json answer = json::parse(shop.run(as_json).output);
  CHECK(answer.at("geometry_differs") == true);
  CHECK(contains(answer.at("cases_elsewhere").at(0).at("geometry_difference"), "12.00 mm apart"));
  change_reference(shop, [](std::vector<std::uint16_t>&, e2enet::Affine& affine) {
    for (const std::size_t element : {0, 4, 8}) affine[element] = -affine[element];
  });
  fs::remove(shop.path("t.csv"));
  const Result refused = shop.run(call);
  CHECK(refused.code == 1);
  CHECK(contains(refused.errors, "r/a.nii: expected the orientation of i/a.nii"));
  CHECK_FALSE(fs::exists(shop.path("t.csv")));
  auto ignoring = call;
  ignoring.push_back("--ignore-geometry");
  CHECK(shop.run(ignoring).code == 0);
}

TEST_CASE("a plot whose models all miss a structure is still a plot") {
  e2enet::cli::TradeoffPoint point;
  point.name = "one";
  point.dice = point.nsd = 0.5;
  point.hd95 = INFINITY;
  point.parameters = point.flops = point.seconds = point.peak_bytes = 1e6;
  const std::string plot = e2enet::cli::tradeoff_svg({point}, "title");
  CHECK(contains(plot, ">inf</text>"));
  CHECK_FALSE(contains(plot, "nan"));
  CHECK_FALSE(contains(plot, "\"inf\""));
}

}  // namespace
