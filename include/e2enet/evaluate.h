// How well predicted labels agree with reference labels. docs/metrics.md defines every score and cites where it comes
// from.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "e2enet/export.h"
#include "e2enet/image.h"
#include "e2enet/volume.h"

namespace e2enet {

// A label volume in memory.
struct LabelVolume {
  Geometry geometry;
  std::vector<std::uint16_t> labels;  // D, H, W order
  std::vector<Remark> remarks;
};

// Reads a label image: every value must be a whole number from 0 to 65535, or within 0.01 of one, which it then
// becomes. Throws Error: cannot_read, invalid_image (naming file and voxel of any other value).
E2ENET_API LabelVolume read_labels(const std::string& path);

namespace evaluate {

// Labels of one volume, D, H, W order. The caller owns the voxels.
struct LabelView {
  const std::uint16_t* voxels = nullptr;
  Shape shape{0, 0, 0};
  Spacing spacing{1, 1, 1};
  // Of one voxel: |determinant| of the image's matrix. Without it, the spacings' product.
  std::optional<double> voxel_ml = std::nullopt;

  std::int64_t size() const { return shape[0] * shape[1] * shape[2]; }
};

inline LabelView view_of(const LabelVolume& volume) {
  return {volume.labels.data(), volume.geometry.shape, volume.geometry.spacing, volume.geometry.voxel_ml()};
}

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
E2ENET_API std::vector<int> labels_present(const LabelView& volume);

// Scores one label. Throws Error (invalid_argument) if the shapes differ, the tolerance is negative or not finite, or a
// spacing is not a positive number. The reference's spacing and voxel volume are used. `threads` 0: as many as this
// process may use; no bit depends on it.
//
//   LabelScore score = score_label(prediction, reference, 1, 1.0);
//   if (score.dice) std::printf("%.4f\n", *score.dice);
E2ENET_API LabelScore score_label(const LabelView& prediction, const LabelView& reference, int label,
                                  double tolerance_mm, int threads = 0);

// Scores each of `labels`.
E2ENET_API CaseScores score_case(const LabelView& prediction, const LabelView& reference,
                                 const std::vector<int>& labels, double tolerance_mm, int threads = 0);

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

E2ENET_API Summary summarize(const std::vector<CaseScores>& cases);

// Whether two volumes of the same shape lie on the same voxels in space: scores compare voxel with voxel, and where the
// shapes agree only by chance they mean nothing.
enum class GeometryMatch {
  same,               // no voxel is farther than a tenth of the smallest spacing from its twin
  elsewhere,          // axes run the same way, but place, spacing or angles differ
  other_orientation,  // axes are exchanged or run the other way: voxels of the same index have nothing in common
};

struct GeometryComparison {
  GeometryMatch match = GeometryMatch::same;
  // What differs: "place: voxels up to 12.00 mm apart". Empty where nothing does.
  std::string difference;
};

// Compares the places of the voxels of two volumes. Both shapes are those of `reference`; the caller compares them.
E2ENET_API GeometryComparison compare_geometry(const Geometry& volume, const Geometry& reference);

// The same of two volumes that are to be compared voxel with voxel. Throws Error (invalid_image), naming both, where
// their shapes differ, and where their axes run differently unless `any_orientation`.
E2ENET_API GeometryComparison require_comparable(const std::string& name, const Geometry& volume,
                                                 const std::string& reference_name, const Geometry& reference,
                                                 bool any_orientation = false);

// All of `prediction`, joined, are the same structure as all of `reference`, joined. It is scored under the number of
// the first of `reference`.
struct LabelMatch {
  std::vector<int> prediction;
  std::vector<int> reference;

  int label() const { return reference.front(); }
};

// "1+2=38": the prediction's labels 1 and 2 against the reference's 38; several labels joined by +, several matches
// separated by commas. Throws Error (invalid_argument) where the text is something else, a label is not within 1 to
// 65535, or one is named twice on the same side.
E2ENET_API std::vector<LabelMatch> parse_label_matches(const std::string& text);

// "1+2=38"
E2ENET_API std::string match_text(const LabelMatch& match);

// Renumber a volume's labels for the comparison; what no match names becomes 0.
E2ENET_API void renumber_prediction(const std::vector<LabelMatch>& matches, std::vector<std::uint16_t>& labels);
E2ENET_API void renumber_reference(const std::vector<LabelMatch>& matches, std::vector<std::uint16_t>& labels);

}  // namespace evaluate
}  // namespace e2enet
