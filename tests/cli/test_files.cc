// evaluate, tradeoff, forward and preprocess through the program; arrays and arguments through their functions.
#include <doctest/doctest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include "cli/bootstrap.h"
#include "cli/npy.h"
#include "cli/structure_plot.h"
#include "cli/text.h"
#include "cli/tradeoff_plot.h"
#include "e2enet/error.h"
#include "program_fixture.h"

namespace {

namespace fs = std::filesystem;
using namespace e2enet::cli;
using e2enet::test::read_file;
using e2enet::test::Result;
using e2enet::test::Workshop;
using e2enet::test::write_file;

void make_labels(const std::string& path, std::int64_t from, std::int64_t to, const e2enet::Shape& shape = {6, 7, 20}) {
  e2enet::Geometry geometry;
  geometry.shape = shape;
  std::vector<std::uint16_t> labels(std::size_t(geometry.voxels()), 0);
  for (std::int64_t i = 0; i < geometry.voxels(); ++i) {
    const std::int64_t w = i % shape[2];
    if (w >= from && w < to) labels[std::size_t(i)] = 2;
  }
  e2enet::imaging::write_labels(path, e2enet::imaging::NiftiHeader::from_geometry(geometry), labels.data(), 2);
}

TEST_CASE("evaluate scores a pair of files") {
  const Workshop shop;
  make_labels(shop.path("reference.nii"), 0, 10);
  make_labels(shop.path("prediction.nii.gz"), 2, 12);
  const Result same = shop.run({"evaluate", "-p", "reference.nii", "-r", "reference.nii", "--json"});
  REQUIRE(same.code == 0);
  CHECK(nlohmann::json::parse(same.output).at("mean_dice") == 1.0);
  const Result result =
      shop.run({"evaluate", "-p", "prediction.nii.gz", "-r", "reference.nii", "--json", "--csv", "scores.csv"});
  REQUIRE(result.code == 0);
  const auto scores = nlohmann::json::parse(result.output);
  CHECK(scores.at("mean_dice") == 0.8);  // 8 of 10 columns shared
  CHECK(scores.at("labels").at("2").at("dice") == 0.8);
  CHECK(scores.at("labels").at("2").at("hd95") == 2.0);
  CHECK(scores.at("labels").at("2").at("nsd").get<double>() < 1.0);
  CHECK(read_file(shop.path("scores.csv")).find("prediction,2,,0.800000,") != std::string::npos);
  const Result missing =
      shop.run({"evaluate", "-p", "prediction.nii.gz", "-r", "reference.nii", "--json", "--labels", "7"});
  REQUIRE(missing.code == 0);
  CHECK(nlohmann::json::parse(missing.output).at("mean_dice").is_null());
}

TEST_CASE("evaluate wants a prediction for every reference, and the same shape") {
  const Workshop shop;
  fs::create_directories(shop.path("p"));
  fs::create_directories(shop.path("r"));
  make_labels(shop.path("p/a.nii.gz"), 2, 12);
  make_labels(shop.path("r/a.nii"), 0, 10);
  const Result one = shop.run({"evaluate", "-p", "p", "-r", "r", "--json"});
  REQUIRE(one.code == 0);
  CHECK(nlohmann::json::parse(one.output).at("cases").size() == 1);
  make_labels(shop.path("r/b.nii"), 0, 10);
  const Result lacking = shop.run({"evaluate", "-p", "p", "-r", "r"});
  CHECK(lacking.code == 1);
  CHECK(lacking.errors.find("'b'") != std::string::npos);
  make_labels(shop.path("p/b.nii"), 0, 10, {6, 7, 21});
  CHECK(shop.run({"evaluate", "-p", "p", "-r", "r"}).code == 1);
  CHECK(shop.run({"evaluate", "-p", "p", "-r", "r/a.nii"}).code == 2);
}

TEST_CASE("tradeoff measures each model over the cases, writes CSV and a plot") {
  const Workshop shop;
  shop.make_model("one.safetensors");
  fs::copy_file(shop.path("one.safetensors"), shop.path("two.safetensors"));
  fs::create_directories(shop.path("images"));
  fs::create_directories(shop.path("labels"));
  for (const std::string name : {"a", "b"}) {
    Workshop::make_image(shop.path("images/" + name + "_0000.nii.gz"), 4);
    REQUIRE(shop.run({"segment", "-m", "one.safetensors", "-i", "images/" + name + "_0000.nii.gz", "-o",
                      "labels/" + name + ".nii.gz"})
                .code == 0);
  }
  const Result result = shop.run({"tradeoff", "-m", "one.safetensors", "two.safetensors", "-i", "images", "-r",
                                  "labels", "--csv", "t.csv", "--svg", "t.svg", "--markdown", "t.md", "--json",
                                  "--cases-csv", "c.csv", "--structures-svg", "s.svg"});
  CAPTURE(result.errors);
  REQUIRE(result.code == 0);
  const auto models = nlohmann::json::parse(result.output).at("models");
  REQUIRE(models.size() == 2);
  for (const auto& model : models) {
    CHECK(model.at("mean_dice") == 1.0);  // the references are this model's own labels
    CHECK(model.at("pt_score").get<double>() == doctest::Approx(3.0));
    CHECK(model.at("peak_bytes").get<double>() > 1e6);
    CHECK(model.at("cases") == 2);
    CHECK(model.at("dice_interval") == nlohmann::json({1.0, 1.0}));
    CHECK(model.at("scores_of_cases").size() == 2);
    CHECK(model.at("scores_of_cases")[1].at("case") == "b");
  }
  CHECK_FALSE(models[0].contains("dice_difference"));
  CHECK(models[1].at("dice_difference") == 0.0);
  CHECK(models[1].at("dice_difference_interval") == nlohmann::json({0.0, 0.0}));
  const std::string of_cases = read_file(shop.path("c.csv"));
  CHECK(of_cases.find("model,case,label,name,dice,nsd,hd95\none.safetensors,a,1,") == 0);
  CHECK(of_cases.find("\ntwo.safetensors,b,1,") != std::string::npos);
  const std::string structures = read_file(shop.path("s.svg"));
  CHECK(structures.find("two</text>") != std::string::npos);
  CHECK(structures.find(": Dice 1.0000 (1.0000 to 1.0000)</title>") != std::string::npos);
  CHECK(structures.find("nan") == std::string::npos);
  const std::string plot = read_file(shop.path("t.svg"));
  CHECK(plot.find("two</text>") != std::string::npos);
  for (const char* axis : {">Dice<", ">surface Dice<", ">HD95, mm<", ">parameters, thousands<",
                           ">executed GFLOP a patch<", ">seconds a case<", ">peak memory, MB<"}) {
    CAPTURE(std::string(axis));
    CHECK(plot.find(axis) != std::string::npos);
  }
  CHECK(plot.find("nan") == std::string::npos);
  const std::string markdown = read_file(shop.path("t.md"));
  CHECK(markdown.find("| model | Dice |") == 0);
  CHECK(markdown.find("\n| two | 1.0000 | 1.0000 to 1.0000 | +0.0000 (+0.0000 to +0.0000) |") != std::string::npos);
  CHECK(read_file(shop.path("t.csv")).find("one.safetensors,") != std::string::npos);
  fs::remove(shop.path("labels/b.nii.gz"));
  CHECK(shop.run({"tradeoff", "-m", "one.safetensors", "-i", "images", "-r", "labels"}).code == 1);
}

TEST_CASE("the trade-off score is that of the paper's equation 7") {
  // Twice the parameters and four times the FLOPs of the smallest, at the best Dice; and the smallest at 9/10 of it.
  const std::vector<double> scores = tradeoff_scores({{0.9, 20, 400}, {0.81, 10, 100}}, 1.0, 0.5);
  CHECK(scores[0] == doctest::Approx(1.0 + 0.5 * (0.5 + 0.25)));
  CHECK(scores[1] == doctest::Approx(0.9 + 0.5 * 2.0));
}

TEST_CASE("an interval over cases is the bootstrap's, the same on every call, and none where cases are too few") {
  // 0 and 1 as often: the number of ones among n draws is binomial, its mean's deviation is 1 / (2 sqrt n).
  std::vector<double> coins;
  for (int i = 0; i < 100; ++i) coins.push_back(i % 2);
  const Interval interval = bootstrap_interval(coins);
  CHECK(interval.low == doctest::Approx(0.5 - 1.96 * 0.05).epsilon(0.03));
  CHECK(interval.high == doctest::Approx(0.5 + 1.96 * 0.05).epsilon(0.03));
  const Interval again = bootstrap_interval(coins);
  CHECK(again.low == interval.low);
  CHECK(again.high == interval.high);
  // All that three values can give: from 27 draws, one has only the least, so both ends are reached.
  CHECK(bootstrap_interval({1, 2, 3}).low == 1);
  CHECK(bootstrap_interval({1, 2, 3}).high == 3);
  CHECK(bootstrap_interval({7, 7, 7}).low == 7);
  CHECK(std::isnan(bootstrap_interval({7}).low));
  CHECK(std::isnan(bootstrap_interval({}).high));
}

TEST_CASE("the plot of structures has a row for each, and none for what a model does not know") {
  const double none = std::nan("");
  const std::string svg =
      structure_svg({"left <one>", "right one", "missing"},
                    {{"dense", {StructureDice{0.9, {0.85, 0.93}}, StructureDice{0.42, {none, none}}, std::nullopt}},
                     {"sparse", {std::nullopt, StructureDice{0.5, {0.45, 0.6}}, std::nullopt}}},
                    "Brain");
  CHECK(svg.find("left &lt;one&gt;</text>") != std::string::npos);
  CHECK(svg.find("dense, left &lt;one&gt;: Dice 0.9000 (0.8500 to 0.9300)") != std::string::npos);
  CHECK(svg.find("dense, right one: Dice 0.4200</title>") != std::string::npos);
  CHECK(svg.find("sparse, right one: Dice 0.5000 (0.4500 to 0.6000)") != std::string::npos);
  CHECK(svg.find("missing</text>") != std::string::npos);
  CHECK(svg.find(", missing: Dice") == std::string::npos);
  CHECK(svg.find(">0.4</text>") != std::string::npos);  // the axis reaches down to the least
  CHECK(svg.find(">0.3</text>") == std::string::npos);
  CHECK(svg.find("nan") == std::string::npos);
}

TEST_CASE("preprocess and forward hand arrays on") {
  const Workshop shop;
  shop.make_model("model.safetensors");
  Workshop::make_image(shop.path("image.nii"), 1, {8, 16, 16});
  REQUIRE(shop.run({"preprocess", "-m", "model.safetensors", "-i", "image.nii", "-o", "x.npy"}).code == 0);
  const FloatArray prepared = read_npy(shop.path("x.npy"));
  CHECK(prepared.shape == std::vector<std::int64_t>{1, 8, 16, 16});
  REQUIRE(shop.run({"forward", "-m", "model.safetensors", "-i", "x.npy", "-o", "y.npy"}).code == 0);
  CHECK(read_npy(shop.path("y.npy")).shape == std::vector<std::int64_t>{3, 8, 16, 16});
  REQUIRE(shop.run({"forward", "-m", "model.safetensors", "-i", "x.npy", "-o", "n.npy", "--node", "1,1"}).code == 0);
  CHECK(read_npy(shop.path("n.npy")).shape == std::vector<std::int64_t>{8, 8, 8, 8});
  const Result node = shop.run({"forward", "-m", "model.safetensors", "-i", "x.npy", "-o", "m.npy", "--node", "2,1"});
  CHECK(node.code == 2);
  CHECK(shop.run({"forward", "-m", "model.safetensors", "-i", "x.npy", "-o", "x.npy"}).code == 2);
  write_npy(shop.path("odd.npy"), {1, 7, 16, 16}, prepared.values.data());
  CHECK(shop.run({"forward", "-m", "model.safetensors", "-i", "odd.npy", "-o", "m.npy"}).code == 1);
  write_npy(shop.path("two.npy"), {2, 4, 16, 16}, prepared.values.data());
  CHECK(shop.run({"forward", "-m", "model.safetensors", "-i", "two.npy", "-o", "m.npy"}).code == 1);
  CHECK_FALSE(fs::exists(shop.path("m.npy")));
}

TEST_CASE("an array survives writing and reading, whatever its shape") {
  const Workshop shop;
  for (const std::vector<std::int64_t>& shape :
       std::vector<std::vector<std::int64_t>>{{}, {5}, {2, 3}, {1, 2, 3, 4}, {0, 4}, {1, 1, 1, 1, 7}}) {
    std::size_t size = 1;
    for (const std::int64_t extent : shape) size *= std::size_t(extent);
    std::vector<float> values(size);
    for (std::size_t i = 0; i < size; ++i) values[i] = float(i) * 0.37F - 1;
    write_npy(shop.path("a.npy"), shape, values.data());
    const FloatArray array = read_npy(shop.path("a.npy"));
    CHECK(array.shape == shape);
    CHECK(array.values == values);
    const std::string bytes = read_file(shop.path("a.npy"));
    CHECK((bytes.size() - size * 4) % 64 == 0);
  }
}

TEST_CASE("an array file that is not what it should be is refused") {
  const Workshop shop;
  const std::string path = shop.path("a.npy");
  const auto written = [&](std::string header, std::size_t bytes, char version = 1) {
    std::string file = "\x93NUMPY";
    file += {version, '\0', char(header.size() & 0xff), char(header.size() >> 8)};
    if (version > 1) file += std::string(2, '\0');
    write_file(path, file + header + std::string(bytes, 'x'));
    return path;
  };
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
  CHECK(read_npy(written(good, 24)).shape == std::vector<std::int64_t>{2, 3});
  CHECK(read_npy(written(good, 24, 2)).values.size() == 6);
  const std::pair<std::string, std::size_t> bad[] = {
      {good, 23},
      {good, 25},
      {good, 0},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }\n", 24},
      {"{'descr': '>f4', 'fortran_order': False, 'shape': (6,), }\n", 24},
      {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }\n", 24},
      {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n", 24},
      {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2, 3), }\n", 24},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3), }\n", 24},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2 3), }\n", 24},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }\n", 24},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }\n", 24},
      {"{'descr': '<f4', 'fortran_order': False}\n", 24},
      {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}\n", 24},
      {"{'descr': '<f4", 24},
      {"", 24},
  };
  for (const auto& one : bad) {
    const auto header = one.first;
    const auto bytes = one.second;
    CAPTURE(header);
    CHECK_THROWS_AS(read_npy(written(header, bytes)), e2enet::Error);
  }
  CHECK_THROWS_AS(read_npy(written(good, 24, 9)), e2enet::Error);
  write_file(path, "");
  CHECK_THROWS_AS(read_npy(path), e2enet::Error);
  write_file(path, "\x93NUMPY\x01");
  CHECK_THROWS_AS(read_npy(path), e2enet::Error);
  CHECK_THROWS_AS(read_npy(shop.path("missing.npy")), e2enet::Error);
}

TEST_CASE("sizes, boxes and parts are read as people write them") {
  CHECK(parse_size("600M", "x") == 600LL << 20);
  CHECK(parse_size("2G", "x") == 2LL << 30);
  CHECK(parse_size("1.5GiB", "x") == 3LL << 29);
  CHECK(parse_size("123", "x") == 123);
  for (const char* bad : {"", "G", "1X", "-1", "0", "1e400", "nan", "1 G"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(parse_size(bad, "x"), UsageError);
  }
  const VoxelBox box = parse_box("1:5,:7,3:", "x");
  CHECK(box.begin == std::array<std::int64_t, 3>{1, -1, 3});
  CHECK(box.end == std::array<std::int64_t, 3>{5, 7, -1});
  CHECK(parse_part("2/3", "x").part == 2);
  CHECK(parse_triple("8,16,32", "x") == std::array<int, 3>{8, 16, 32});
}

TEST_CASE("numbers are shown as people read them") {
  CHECK(bytes_text(512) == "512 B");
  CHECK(bytes_text(1536) == "1.50 KiB");
  CHECK(bytes_text(600LL << 20) == "600 MiB");
  CHECK(count_text(23.9e6) == "23.90 M");
  CHECK(duration_text(0.5) == "0.50 s");
  CHECK(duration_text(125) == "2:05 min");
  CHECK(duration_text(3725) == "1:02:05 h");
  CHECK(csv_field("a,\"b\"") == "\"a,\"\"b\"\"\"");
  CHECK(display_width("\xc2\xb1") == 1);
}

}  // namespace
