// Matching labels of two ways of labelling.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "e2enet/error.h"
#include "e2enet/evaluate.h"

using namespace e2enet::evaluate;

TEST_CASE("labels joined on both sides are renumbered to the reference's first, all others to background") {
  const std::vector<LabelMatch> matches = parse_label_matches("1+2=38,7=4+5");
  REQUIRE(matches.size() == 2);
  CHECK(match_text(matches[0]) == "1+2=38");
  CHECK(match_text(matches[1]) == "7=4+5");

  std::vector<std::uint16_t> prediction = {0, 1, 2, 3, 7, 38, 65535};
  renumber_prediction(matches, prediction);
  CHECK(prediction == std::vector<std::uint16_t>{0, 38, 38, 0, 4, 0, 0});

  std::vector<std::uint16_t> reference = {0, 1, 4, 5, 7, 38, 65535};
  renumber_reference(matches, reference);
  CHECK(reference == std::vector<std::uint16_t>{0, 0, 4, 4, 0, 38, 0});
}

TEST_CASE("a match that cannot be meant is refused, and the message says what was found") {
  for (const std::string text : {"", "1", "1=", "=1", "1=2=3", "1+=2", "0=1", "1=0", "-1=2", "65536=1", "1 =2", "1=2,",
                                 "one=2", "99999999999=1"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(parse_label_matches(text), e2enet::Error);
  }
  CHECK_THROWS_WITH(parse_label_matches("1=2,1=3"), "expected each label once among the prediction's, found '1'");
  CHECK_THROWS_WITH(parse_label_matches("1=3,2=3"), "expected each label once among the reference's, found '3'");
}
