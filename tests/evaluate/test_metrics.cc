// Volumes small enough that every score is known on paper. The reasoning stands beside each number.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "e2enet/error.h"
#include "e2enet/evaluate.h"

namespace {

using e2enet::Shape;
using e2enet::Spacing;
using namespace e2enet::evaluate;

// A label volume that starts empty.
struct Volume {
  Volume(Shape s, Spacing mm = {1, 1, 1}) : shape(s), spacing(mm) {
    voxels.assign(static_cast<std::size_t>(s[0] * s[1] * s[2]), 0);
  }
  // Sets the half-open box [d0,d1) x [h0,h1) x [w0,w1).
  Volume& box(std::int64_t d0, std::int64_t d1, std::int64_t h0, std::int64_t h1, std::int64_t w0, std::int64_t w1,
              std::uint16_t label = 1) {
    for (std::int64_t d = d0; d < d1; ++d) {
      for (std::int64_t h = h0; h < h1; ++h) {
        for (std::int64_t w = w0; w < w1; ++w) {
          voxels[static_cast<std::size_t>((d * shape[1] + h) * shape[2] + w)] = label;
        }
      }
    }
    return *this;
  }
  LabelView view() const { return {voxels.data(), shape, spacing}; }

  Shape shape;
  Spacing spacing;
  std::vector<std::uint16_t> voxels;
};

LabelScore score(const Volume& prediction, const Volume& reference, double tolerance = 1.0, int label = 1) {
  return score_label(prediction.view(), reference.view(), label, tolerance);
}

TEST_CASE("equal volumes score 1, 1 and 0 mm, and the volume is voxels times their size") {
  Volume volume({6, 7, 8}, {3.0, 0.5, 2.0});
  volume.box(1, 4, 2, 6, 3, 5);  // 3 * 4 * 2 = 24 voxels of 3 mm^3
  const LabelScore result = score(volume, volume);
  CHECK(result.prediction_voxels == 24);
  CHECK(result.reference_voxels == 24);
  CHECK(result.prediction_ml == doctest::Approx(0.072));
  CHECK(result.reference_ml == doctest::Approx(0.072));
  CHECK(*result.dice == 1.0);
  CHECK(*result.nsd == 1.0);
  CHECK(*result.hd95 == 0.0);
}

TEST_CASE("distance between two voxels goes by the spacing of each axis") {
  const Spacing spacing{5, 0.5, 2};
  Volume prediction({4, 9, 6}, spacing), reference({4, 9, 6}, spacing);
  prediction.box(0, 1, 0, 1, 0, 1);
  reference.box(2, 3, 6, 7, 4, 5);  // 10 mm, 3 mm and 8 mm away
  const double distance = std::sqrt(100.0 + 9.0 + 64.0);
  const LabelScore result = score(prediction, reference);
  CHECK(*result.dice == 0.0);
  CHECK(*result.nsd == 0.0);
  CHECK(*result.hd95 == doctest::Approx(distance).epsilon(1e-12));
  CHECK(*score(prediction, reference, distance + 1e-3).nsd == 1.0);
  CHECK(*score(prediction, reference, distance - 1e-3).nsd == 0.0);
}

TEST_CASE("Dice counts voxels: two boxes that share 8 of 10 slices") {
  Volume prediction({10, 10, 14}), reference({10, 10, 14});
  prediction.box(0, 10, 0, 10, 2, 12);
  reference.box(0, 10, 0, 10, 0, 10);
  CHECK(*score(prediction, reference).dice == 2.0 * 800 / 2000);
}

TEST_CASE("parallel plates: every surface voxel is as far away as the plates") {
  Volume prediction({8, 5, 5}, {2.5, 1, 1}), reference({8, 5, 5}, {2.5, 1, 1});
  prediction.box(1, 2, 0, 5, 0, 5);
  reference.box(4, 5, 0, 5, 0, 5);
  CHECK(*score(prediction, reference).hd95 == doctest::Approx(7.5).epsilon(1e-12));
  CHECK(*score(prediction, reference, 7.4).nsd == 0.0);
  CHECK(*score(prediction, reference, 7.5).nsd == 1.0);  // the tolerance itself is accepted
}

TEST_CASE("a distance that equals the tolerance on paper is accepted although 0.1 and 0.7 are not exact in binary") {
  for (const double spacing : {0.1, 0.7, 0.3, 1.1}) {
    for (const int voxels : {1, 3, 7}) {
      CAPTURE(spacing);
      CAPTURE(voxels);
      Volume prediction({1, 1, 9}, {1, 1, spacing}), reference({1, 1, 9}, {1, 1, spacing});
      prediction.box(0, 1, 0, 1, 0, 1);
      reference.box(0, 1, 0, 1, voxels, voxels + 1);
      CHECK(*score(prediction, reference, std::round(spacing * voxels * 10) / 10).nsd == 1.0);
    }
  }
}

TEST_CASE("a bar two voxels too short: percentile interpolates, the worse direction counts") {
  // 22 reference voxels: 20 coincide, one is 1 voxel (1.5 mm) and one 2 voxels (3 mm) from the prediction's end.
  // rank 0.95 * 21 = 19.95, between a distance of 0 (rank 19) and 1.5 (rank 20): 0.95 * 1.5. The other direction: 0.
  Volume prediction({1, 1, 30}, {1, 1, 1.5}), reference({1, 1, 30}, {1, 1, 1.5});
  prediction.box(0, 1, 0, 1, 4, 24);
  reference.box(0, 1, 0, 1, 4, 26);
  for (const bool swapped : {false, true}) {
    CAPTURE(swapped);
    const LabelScore result = swapped ? score(reference, prediction, 1.5) : score(prediction, reference, 1.5);
    CHECK(*result.hd95 == doctest::Approx(0.95 * 1.5).epsilon(1e-12));
    CHECK(*result.nsd == doctest::Approx((20.0 + 21.0) / 42.0).epsilon(1e-15));
    CHECK(*result.dice == doctest::Approx(40.0 / 42.0).epsilon(1e-15));
  }
}

TEST_CASE("an object that fills the volume has its surface along the border") {
  // All 27 voxels against the middle one. Surface of the full cube: its 26 outer voxels; 6 of them are 1 mm from the
  // middle, 12 at sqrt 2, 8 at sqrt 3. The middle voxel is 1 mm from the surface.
  Volume full({3, 3, 3}), middle({3, 3, 3});
  full.box(0, 3, 0, 3, 0, 3);
  middle.box(1, 2, 1, 2, 1, 2);
  CHECK(*score(full, full).nsd == 1.0);
  CHECK(*score(full, full).hd95 == 0.0);
  CHECK(*score(middle, full, 1.0).nsd == doctest::Approx((1.0 + 6.0) / 27.0).epsilon(1e-15));
  CHECK(*score(middle, full, 1.5).nsd == doctest::Approx((1.0 + 18.0) / 27.0).epsilon(1e-15));
  CHECK(*score(middle, full, 1.8).nsd == 1.0);
  CHECK(*score(middle, full).hd95 == doctest::Approx(std::sqrt(3.0)).epsilon(1e-12));  // ranks 18..25 are sqrt 3
}

TEST_CASE("a border counts like background: the same object scores the same with room around it") {
  Volume tight_prediction({4, 5, 6}, {2, 1, 1.5}), tight_reference({4, 5, 6}, {2, 1, 1.5});
  tight_prediction.box(0, 4, 1, 5, 0, 5);
  tight_reference.box(0, 3, 0, 5, 1, 6);
  Volume roomy_prediction({8, 9, 10}, {2, 1, 1.5}), roomy_reference({8, 9, 10}, {2, 1, 1.5});
  roomy_prediction.box(2, 6, 3, 7, 2, 7);
  roomy_reference.box(2, 5, 2, 7, 3, 8);
  const LabelScore tight = score(tight_prediction, tight_reference), roomy = score(roomy_prediction, roomy_reference);
  CHECK(*tight.dice == *roomy.dice);
  CHECK(*tight.nsd == *roomy.nsd);
  CHECK(*tight.hd95 == *roomy.hd95);
  CHECK(*tight.nsd < 1.0);
  CHECK(*tight.hd95 > 0.0);
}

TEST_CASE("only face neighbours make a voxel inner: a cube with a hollow voxel in the middle") {
  // Prediction: the cube without its middle voxel; reference: the cube. Surface of the cube: 125 - 27 = 98 voxels.
  // The hole adds its 6 face neighbours (not the 20 others around it), each 1 voxel inside the surface.
  Volume prediction({7, 7, 7}), reference({7, 7, 7});
  reference.box(1, 6, 1, 6, 1, 6);
  prediction.box(1, 6, 1, 6, 1, 6);
  prediction.box(3, 4, 3, 4, 3, 4, 0);
  CHECK(*score(prediction, reference, 0.5).nsd == doctest::Approx((98.0 + 98.0) / (98.0 + 104.0)).epsilon(1e-15));
  CHECK(*score(prediction, reference, 1.0).nsd == 1.0);
}

TEST_CASE("a label that neither volume has is not scored") {
  Volume empty({3, 3, 3});
  const LabelScore result = score(empty, empty);
  CHECK_FALSE(result.dice.has_value());
  CHECK_FALSE(result.nsd.has_value());
  CHECK_FALSE(result.hd95.has_value());
  CHECK(result.reference_voxels == 0);
}

TEST_CASE("a label that only one volume has scores 0, 0 and an infinite distance") {
  Volume empty({3, 3, 3}), one({3, 3, 3});
  one.box(1, 2, 1, 2, 1, 2);
  for (const bool missed : {false, true}) {
    CAPTURE(missed);
    const LabelScore result = missed ? score(empty, one) : score(one, empty);
    CHECK(*result.dice == 0.0);
    CHECK(*result.nsd == 0.0);
    CHECK(std::isinf(*result.hd95));
  }
}

TEST_CASE("labels do not see each other") {
  Volume prediction({4, 4, 8}), reference({4, 4, 8});
  prediction.box(0, 4, 0, 4, 0, 4, 1).box(0, 4, 0, 4, 4, 8, 300);
  reference.box(0, 4, 0, 4, 0, 4, 1).box(0, 4, 0, 4, 4, 6, 300);
  CHECK(*score(prediction, reference, 1.0, 1).dice == 1.0);
  CHECK(*score(prediction, reference, 1.0, 300).dice == 2.0 * 32 / (64 + 32));
  CHECK(labels_present(prediction.view()) == std::vector<int>{1, 300});
}

TEST_CASE("volumes are the reference's voxel volume where it is given, which the spacing need not tell") {
  Volume prediction({4, 4, 8}, {1, 2, 3}), reference({4, 4, 8}, {1, 2, 3});
  prediction.box(0, 4, 0, 4, 0, 2);
  reference.box(0, 4, 0, 4, 0, 4);
  const auto by_spacing = e2enet::evaluate::score_label(prediction.view(), reference.view(), 1, 1.0);
  CHECK(by_spacing.prediction_ml == doctest::Approx(32 * 0.006));
  CHECK(by_spacing.reference_ml == doctest::Approx(64 * 0.006));
  LabelView sheared = reference.view();
  sheared.voxel_ml = 0.005;
  const auto by_matrix = e2enet::evaluate::score_label(prediction.view(), sheared, 1, 1.0);
  CHECK(by_matrix.prediction_ml == doctest::Approx(32 * 0.005));
  CHECK(by_matrix.reference_ml == doctest::Approx(64 * 0.005));
  CHECK(*by_matrix.hd95 == *by_spacing.hd95);
}

TEST_CASE("what cannot be compared is refused") {
  Volume volume({3, 4, 5}), other({3, 5, 4}), flat({3, 4, 5}, {1, 0, 1});
  CHECK_THROWS_AS(score(volume, other), e2enet::Error);
  CHECK_THROWS_AS(score(volume, flat), e2enet::Error);
  CHECK_THROWS_AS(score(volume, volume, -1), e2enet::Error);
  CHECK_THROWS_AS(score(volume, volume, std::nan("")), e2enet::Error);
}

TEST_CASE("the summary averages over cases, then over labels; a missed label makes the mean distance infinite") {
  const auto made = [](double dice, double hd95) {
    LabelScore result;
    result.dice = dice;
    result.nsd = dice / 2;
    result.hd95 = hd95;
    return result;
  };
  std::vector<CaseScores> cases(3);
  cases[0][1] = made(0.8, 2);
  cases[1][1] = made(0.6, 4);
  cases[2][1] = made(0.0, INFINITY);
  cases[0][2] = made(1.0, 1);
  cases[1][2] = LabelScore{};  // in neither volume
  cases[2][2] = LabelScore{};
  const Summary summary = summarize(cases);
  const LabelSummary& first = summary.labels.at(1);
  CHECK(first.dice.mean == doctest::Approx(1.4 / 3));
  CHECK(first.dice.count == 3);
  CHECK(first.dice.finite_sd == doctest::Approx(std::sqrt((0.64 + 0.36 - 3 * std::pow(1.4 / 3, 2)) / 2)));
  CHECK(std::isinf(first.hd95.mean));
  CHECK(first.hd95.finite_mean == doctest::Approx(3.0));
  CHECK(first.hd95.count == 3);
  CHECK(first.hd95.infinite == 1);
  CHECK(first.not_scored == 0);
  CHECK(summary.labels.at(2).not_scored == 2);
  CHECK(summary.labels.at(2).dice.count == 1);
  CHECK(summary.labels.at(2).dice.finite_sd == 0.0);
  CHECK(*summary.mean_dice == doctest::Approx((1.4 / 3 + 1.0) / 2));
  CHECK(*summary.mean_nsd == doctest::Approx((1.4 / 3 + 1.0) / 4));
  CHECK(std::isinf(*summary.mean_hd95));
  CHECK(summary.pairs == 4);
  CHECK(summary.hd95_infinite == 1);
  CHECK(summary.not_scored == 2);
  cases.pop_back();  // without the missed one
  CHECK(*summarize(cases).mean_hd95 == doctest::Approx((3.0 + 1.0) / 2));
  CHECK_FALSE(summarize({}).mean_dice.has_value());
}

}  // namespace
