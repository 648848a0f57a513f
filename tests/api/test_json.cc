// What the library writes as JSON: valid for any text and any number, keys in order.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "e2enet/json.h"
#include "fixtures.h"

using nlohmann::ordered_json;

TEST_CASE("numbers that do not exist are null, and those that do come back as they were") {
  std::map<int, e2enet::LabelStatistics> statistics;
  statistics[3].name = "a \"quoted\"\nname";
  statistics[3].voxels = std::numeric_limits<std::int64_t>::max();
  statistics[3].ml = 0.1 + 0.2;
  statistics[3].mean_intensity = {std::nan(""), 5};
  statistics[4].name = "none";
  const ordered_json without = ordered_json::parse(e2enet::statistics_json(statistics));
  CHECK(!without["3"].contains("mean_intensity"));
  const ordered_json with = ordered_json::parse(e2enet::statistics_json(statistics, true));
  CHECK(with["3"]["name"] == statistics[3].name);
  CHECK(with["3"]["voxels"] == std::numeric_limits<std::int64_t>::max());
  CHECK(with["3"]["ml"] == 0.1 + 0.2);
  CHECK(with["3"]["mean_intensity"].is_null());
  CHECK(with["3"]["mean_intensity_per_channel"].dump() == "[null,5.0]");
  CHECK(with["4"]["mean_intensity"].is_null());
  CHECK(!with["4"].contains("mean_intensity_per_channel"));
}

TEST_CASE("texts that are no UTF-8 are JSON all the same") {
  const std::vector<e2enet::Remark> remarks = {{true, "caf\xe9.nii", "caf\xc3\xa9"}, {false, "b.nii", "fine"}};
  const ordered_json list = ordered_json::parse(e2enet::remarks_json(remarks));
  CHECK(list[0] == "warning: caf\xef\xbf\xbd.nii: caf\xc3\xa9");
  CHECK(list[1] == "b.nii: fine");
  CHECK(e2enet::remarks_json({}) == "[]");
}

TEST_CASE("an asymmetry that is not defined is null") {
  e2enet::Asymmetry both, neither;
  both.pair = {"a", 1, 2};
  both.left_ml = 3;
  both.right_ml = 1;
  const ordered_json list = ordered_json::parse(e2enet::asymmetry_json({both, neither}));
  CHECK(list[0]["asymmetry_percent"] == 100);
  CHECK(list[1]["asymmetry_percent"].is_null());
}

TEST_CASE("scores: an infinite distance is null and said to be, a score that does not exist is null and not infinite") {
  e2enet::evaluate::CaseScores scores;
  scores[1].dice = 0;
  scores[1].hd95 = std::numeric_limits<double>::infinity();
  scores[2].reference_voxels = 0;
  const ordered_json json = ordered_json::parse(e2enet::scores_json(scores, {{1, "one"}}));
  CHECK(json["1"]["name"] == "one");
  CHECK(json["1"]["hd95"].is_null());
  CHECK(json["1"]["hd95_infinite"] == true);
  CHECK(!json["2"].contains("name"));
  CHECK(json["2"]["dice"].is_null());
  CHECK(json["2"]["hd95_infinite"] == false);
  const ordered_json summary = ordered_json::parse(e2enet::summary_json(e2enet::evaluate::summarize({scores})));
  CHECK(summary["mean_hd95"].is_null());
  CHECK(summary["hd95_infinite"] == 1);
  CHECK(summary["labels"]["1"]["hd95_finite"].is_null());
  CHECK(summary["labels"]["2"]["cases_not_scored"] == 1);
}

TEST_CASE("a segmentation's JSON has the figures of the segmentation") {
  const e2enet::test::TestImage image({10, 22, 18});
  e2enet::Segmenter segmenter(
      e2enet::test::small_model(R"(, "labels": {"0": "background", "1": "left thing", "2": "right thing"})"));
  e2enet::Request request;
  request.mean_intensities = true;
  const e2enet::Segmentation found = segmenter.segment(image.view, request);
  const ordered_json json = ordered_json::parse(e2enet::segmentation_json(found, true));
  CHECK(json["empty_image"] == false);
  CHECK(json["runs"] == found.runs);
  CHECK(json["plan"] == found.way);
  CHECK(json["labels"]["1"]["voxels"] == found.statistics.at(1).voxels);
  CHECK(json["labels"]["1"]["mean_intensity"] == found.statistics.at(1).mean_intensity[0]);
  REQUIRE(json["asymmetry"].size() == 1);
  CHECK(json["asymmetry"][0]["structure"] == "thing");
}

TEST_CASE("a forecast's parts of memory keep their order") {
  const e2enet::test::TestImage image({10, 22, 18});
  e2enet::Segmenter segmenter(e2enet::test::small_model());
  const e2enet::Forecast forecast = segmenter.forecast(image.view);
  const ordered_json json = ordered_json::parse(e2enet::forecast_json(forecast));
  REQUIRE(json["memory"].size() == forecast.memory.size());
  std::size_t i = 0;
  for (const auto& [part, bytes] : json["memory"].items()) {
    CHECK(part == forecast.memory[i].first);
    CHECK(bytes == forecast.memory[i++].second);
  }
  CHECK(json["network_shape"] == ordered_json(forecast.network_shape));
}
