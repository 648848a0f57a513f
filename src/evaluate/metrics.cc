#include "e2enet/evaluate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "e2enet/error.h"
#include "e2enet/machine.h"
#include "evaluate/distance_transform.h"

namespace e2enet::evaluate {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::string text_of(const Shape& shape) {
  return std::to_string(shape[0]) + "x" + std::to_string(shape[1]) + "x" + std::to_string(shape[2]);
}

void require_comparable(const LabelView& prediction, const LabelView& reference, double tolerance_mm) {
  if (prediction.shape != reference.shape) {
    throw Error(ErrorCode::invalid_argument, "prediction and reference differ in shape (D x H x W): expected " +
                                                 text_of(reference.shape) + ", found " + text_of(prediction.shape));
  }
  if (!(tolerance_mm >= 0) || !std::isfinite(tolerance_mm)) {
    throw Error(ErrorCode::invalid_argument,
                "tolerance: expected a number of mm >= 0, found " + std::to_string(tolerance_mm));
  }
  for (const double spacing : reference.spacing) {
    if (!(spacing > 0) || !std::isfinite(spacing)) {
      throw Error(ErrorCode::invalid_argument,
                  "reference: expected a spacing > 0 mm, found " + std::to_string(spacing));
    }
  }
}

struct Overlap {
  std::int64_t prediction = 0, reference = 0, both = 0;
  Box box;  // smallest box around the voxels of either
};

Overlap count_overlap(const LabelView& prediction, const LabelView& reference, int label) {
  Overlap overlap;
  Box& box = overlap.box;
  box.begin = {reference.shape[0], reference.shape[1], reference.shape[2]};
  const std::int64_t width = reference.shape[2];
  for (std::int64_t d = 0; d < reference.shape[0]; ++d) {
    for (std::int64_t h = 0; h < reference.shape[1]; ++h) {
      const std::uint16_t* p = prediction.voxels + (d * reference.shape[1] + h) * width;
      const std::uint16_t* r = reference.voxels + (d * reference.shape[1] + h) * width;
      std::int64_t first = width, last = -1;
      for (std::int64_t w = 0; w < width; ++w) {
        const bool in_prediction = p[w] == label, in_reference = r[w] == label;
        overlap.prediction += in_prediction;
        overlap.reference += in_reference;
        overlap.both += in_prediction && in_reference;
        if (in_prediction || in_reference) {
          first = std::min(first, w);
          last = w;
        }
      }
      if (last < 0) continue;
      box.begin = {std::min(box.begin[0], d), std::min(box.begin[1], h), std::min(box.begin[2], first)};
      box.end = {std::max(box.end[0], d + 1), std::max(box.end[1], h + 1), std::max(box.end[2], last + 1)};
    }
  }
  return overlap;
}

// Indices into the box of the voxels with the label that have a face neighbour without it. What lies outside the volume
// does not have the label, so the surface of an object cut by the border closes along the border.
std::vector<std::int64_t> surface_of(const LabelView& volume, const Box& box, int label) {
  const Shape shape = volume.shape;
  const auto has = [&](std::int64_t d, std::int64_t h, std::int64_t w) {
    if (d < 0 || h < 0 || w < 0 || d >= shape[0] || h >= shape[1] || w >= shape[2]) return false;
    return volume.voxels[(d * shape[1] + h) * shape[2] + w] == label;
  };
  std::vector<std::int64_t> surface;
  const Shape extent = box.size();
  for (std::int64_t d = box.begin[0]; d < box.end[0]; ++d) {
    for (std::int64_t h = box.begin[1]; h < box.end[1]; ++h) {
      for (std::int64_t w = box.begin[2]; w < box.end[2]; ++w) {
        if (!has(d, h, w)) continue;
        if (has(d - 1, h, w) && has(d + 1, h, w) && has(d, h - 1, w) && has(d, h + 1, w) && has(d, h, w - 1) &&
            has(d, h, w + 1)) {
          continue;
        }
        surface.push_back(((d - box.begin[0]) * extent[1] + (h - box.begin[1])) * extent[2] + (w - box.begin[2]));
      }
    }
  }
  return surface;
}

// For each voxel of `from`, the distance in mm to the nearest voxel of `to`. Both lie in the box, so looking no further
// than the box is exact.
std::vector<double> distances(const std::vector<std::int64_t>& from, const std::vector<std::int64_t>& to,
                              const Shape& extent, const Spacing& spacing, int threads) {
  std::vector<double> field(static_cast<std::size_t>(extent[0] * extent[1] * extent[2]), kInfinity);
  for (const std::int64_t at : to) field[static_cast<std::size_t>(at)] = 0;
  squared_distance_transform(field, extent, spacing, threads);
  std::vector<double> result;
  result.reserve(from.size());
  for (const std::int64_t at : from) result.push_back(std::sqrt(field[static_cast<std::size_t>(at)]));
  return result;
}

// Linear interpolation between the two nearest ranks, rank = fraction * (n - 1): numpy's and R's default.
double percentile(std::vector<double> values, double fraction) {
  const double rank = fraction * static_cast<double>(values.size() - 1);
  const auto lower = static_cast<std::size_t>(rank);
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(lower), values.end());
  const double low = values[lower];
  if (lower + 1 == values.size()) return low;
  const double high = *std::min_element(values.begin() + static_cast<std::ptrdiff_t>(lower) + 1, values.end());
  return low + (rank - static_cast<double>(lower)) * (high - low);
}

Average average(const std::vector<double>& values) {
  Average result;
  result.count = static_cast<int>(values.size());
  for (const double value : values) {
    if (std::isfinite(value)) {
      result.finite_mean += value;
    } else {
      ++result.infinite;
    }
  }
  const int finite = result.count - result.infinite;
  if (finite > 0) result.finite_mean /= finite;
  double squares = 0;
  for (const double value : values) {
    if (std::isfinite(value)) squares += (value - result.finite_mean) * (value - result.finite_mean);
  }
  result.finite_sd = finite > 1 ? std::sqrt(squares / (finite - 1)) : 0;
  result.mean = result.infinite > 0 ? kInfinity : result.finite_mean;
  return result;
}

}  // namespace

std::vector<int> labels_present(const LabelView& volume) {
  std::vector<bool> seen(65536);
  const std::int64_t size = volume.size();
  for (std::int64_t i = 0; i < size; ++i) seen[volume.voxels[i]] = true;
  std::vector<int> labels;
  for (std::size_t value = 1; value < seen.size(); ++value) {
    if (seen[value]) labels.push_back(static_cast<int>(value));
  }
  return labels;
}

LabelScore score_label(const LabelView& prediction, const LabelView& reference, int label, double tolerance_mm,
                       int threads) {
  threads = usable_threads(threads);
  require_comparable(prediction, reference, tolerance_mm);
  const Overlap overlap = count_overlap(prediction, reference, label);
  const double voxel_ml =
      reference.voxel_ml.value_or(reference.spacing[0] * reference.spacing[1] * reference.spacing[2] / 1000.0);
  LabelScore score;
  score.prediction_voxels = overlap.prediction;
  score.reference_voxels = overlap.reference;
  score.prediction_ml = static_cast<double>(overlap.prediction) * voxel_ml;
  score.reference_ml = static_cast<double>(overlap.reference) * voxel_ml;
  if (overlap.prediction == 0 && overlap.reference == 0) return score;
  score.dice = 2.0 * static_cast<double>(overlap.both) / static_cast<double>(overlap.prediction + overlap.reference);
  if (overlap.prediction == 0 || overlap.reference == 0) {
    score.nsd = 0;
    score.hd95 = kInfinity;
    return score;
  }

  const std::vector<std::int64_t> predicted = surface_of(prediction, overlap.box, label);
  const std::vector<std::int64_t> expected = surface_of(reference, overlap.box, label);
  const Shape extent = overlap.box.size();
  const std::vector<double> to_reference = distances(predicted, expected, extent, reference.spacing, threads);
  const std::vector<double> to_prediction = distances(expected, predicted, extent, reference.spacing, threads);
  // Spacings such as 0.7 are not exact in binary: a distance that equals the tolerance on paper must count as within
  // it.
  const double within = tolerance_mm * (1 + 1e-6) + 1e-12;
  const auto near = [&](double distance) { return distance <= within; };
  const auto accepted = std::count_if(to_reference.begin(), to_reference.end(), near) +
                        std::count_if(to_prediction.begin(), to_prediction.end(), near);
  score.nsd = static_cast<double>(accepted) / static_cast<double>(predicted.size() + expected.size());
  score.hd95 = std::max(percentile(to_reference, 0.95), percentile(to_prediction, 0.95));
  return score;
}

CaseScores score_case(const LabelView& prediction, const LabelView& reference, const std::vector<int>& labels,
                      double tolerance_mm, int threads) {
  require_comparable(prediction, reference, tolerance_mm);
  CaseScores scores;
  for (const int label : labels) scores[label] = score_label(prediction, reference, label, tolerance_mm, threads);
  return scores;
}

Summary summarize(const std::vector<CaseScores>& cases) {
  struct Values {
    std::vector<double> dice, nsd, hd95, prediction_ml, reference_ml;
  };
  std::map<int, Values> gathered;
  Summary summary;
  for (const CaseScores& scores : cases) {
    for (const auto& [label, score] : scores) {
      Values& values = gathered[label];
      if (!score.dice) ++summary.labels[label].not_scored;
      if (score.dice) values.dice.push_back(*score.dice);
      if (score.nsd) values.nsd.push_back(*score.nsd);
      if (score.hd95) values.hd95.push_back(*score.hd95);
      values.prediction_ml.push_back(score.prediction_ml);
      values.reference_ml.push_back(score.reference_ml);
    }
  }
  std::vector<double> dice, nsd, hd95;
  for (const auto& [label, values] : gathered) {
    LabelSummary& of_label = summary.labels[label];
    of_label.dice = average(values.dice);
    of_label.nsd = average(values.nsd);
    of_label.hd95 = average(values.hd95);
    of_label.prediction_ml = average(values.prediction_ml);
    of_label.reference_ml = average(values.reference_ml);
    if (of_label.dice.count) dice.push_back(of_label.dice.mean);
    if (of_label.nsd.count) nsd.push_back(of_label.nsd.mean);
    if (of_label.hd95.count) hd95.push_back(of_label.hd95.mean);
    summary.pairs += of_label.dice.count;
    summary.hd95_infinite += of_label.hd95.infinite;
    summary.not_scored += of_label.not_scored;
  }
  if (!dice.empty()) summary.mean_dice = average(dice).mean;
  if (!nsd.empty()) summary.mean_nsd = average(nsd).mean;
  if (!hd95.empty()) summary.mean_hd95 = average(hd95).mean;
  return summary;
}

}  // namespace e2enet::evaluate
