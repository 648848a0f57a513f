// How well predicted labels agree with reference labels. docs/metrics.md defines every score and cites where it comes
// from.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "e2enet/volume.h"

namespace e2enet::evaluate {

// Labels of one volume, D, H, W order. The caller owns the voxels.
struct LabelView {
  const std::uint16_t* voxels = nullptr;
  Shape shape{0, 0, 0};
  Spacing spacing{1, 1, 1};
  // Of one voxel: |determinant| of the image's matrix. Without it, the spacings' product.
  std::optional<double> voxel_ml = std::nullopt;

  std::int64_t size() const { return shape[0] * shape[1] * shape[2]; }
};

// Scores of one label in one case. A label that neither volume has is not scored: all three are empty. A label that
// only one of them has scores Dice 0, NSD 0 and an infinite Hausdorff distance.
struct LabelScore {
  std::int64_t prediction_voxels = 0;
  std::int64_t reference_voxels = 0;
  double prediction_ml = 0;
  double reference_ml = 0;
  std::optional<double> dice;  // 2 |P and R| / (|P| + |R|)
  std::optional<double> nsd;   // normalised surface Dice at the tolerance
  std::optional<double> hd95;  // mm; +infinity if only one of the two has the label
};

using CaseScores = std::map<int, LabelScore>;  // by label value

// The values other than 0 that occur.
std::vector<int> labels_present(const LabelView& volume);

// Scores one label. Throws Error (invalid_argument) if the shapes differ, the tolerance is negative or not finite, or a
// spacing is not a positive number. The reference's spacing and voxel volume are used.
//
//   LabelScore score = score_label(prediction, reference, 1, 1.0);
//   if (score.dice) std::printf("%.4f\n", *score.dice);
LabelScore score_label(const LabelView& prediction, const LabelView& reference, int label, double tolerance_mm);

// Scores each of `labels`.
CaseScores score_case(const LabelView& prediction, const LabelView& reference, const std::vector<int>& labels,
                      double tolerance_mm);

// Of the values of several cases. An infinite value makes the mean infinite: a mean over the others would reward a
// model that misses a structure altogether.
struct Average {
  double mean = 0;         // infinite where one of the values is; 0 where there are none
  double finite_mean = 0;  // of the finite values alone; 0 where there are none
  double finite_sd = 0;    // of these (n - 1; 0 for one)
  int count = 0;           // of values, the infinite ones among them
  int infinite = 0;
};

struct LabelSummary {
  Average dice, nsd, hd95, prediction_ml, reference_ml;
  int not_scored = 0;  // cases in which neither volume has the label
};

struct Summary {
  std::map<int, LabelSummary> labels;
  // Means over the labels' means; empty if no label has the score. mean_hd95 is infinite where a label's mean is.
  std::optional<double> mean_dice, mean_nsd, mean_hd95;
  // Pairs of a label and a case: behind the means; of these with an infinite HD95; without a score.
  int pairs = 0;
  int hd95_infinite = 0;
  int not_scored = 0;
};

Summary summarize(const std::vector<CaseScores>& cases);

}  // namespace e2enet::evaluate
