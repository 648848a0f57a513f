#include "prepare/preprocess_plan.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "e2enet/error.h"

namespace e2enet::imaging {
namespace {

// A spacing that asks for more is a mistake in the image or the model.
constexpr double kLongestAxis = 1 << 20;

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

int separate_axis(const Spacing& original, const Spacing& target) {
  for (const Spacing& spacing : {original, target}) {
    const double largest = *std::max_element(spacing.begin(), spacing.end());
    const double smallest = *std::min_element(spacing.begin(), spacing.end());
    if (!(largest / smallest > 3)) continue;
    if (std::count(spacing.begin(), spacing.end(), largest) > 1) return -1;
    return static_cast<int>(std::find(spacing.begin(), spacing.end(), largest) - spacing.begin());
  }
  return -1;
}

namespace {

void check(const model::Preprocessing& configuration) {
  std::array<int, 3> sorted = configuration.transpose_forward;
  std::sort(sorted.begin(), sorted.end());
  if (sorted != std::array<int, 3>{0, 1, 2}) {
    throw Error(ErrorCode::invalid_argument, "preprocessing.transpose_forward: expected an order of 0, 1, 2");
  }
  if (configuration.normalization.empty()) {
    throw Error(ErrorCode::invalid_argument, "preprocessing.normalization: expected one entry a channel, found none");
  }
  if (configuration.spacing) {
    for (const double spacing : *configuration.spacing) {
      if (!(spacing > 0 && std::isfinite(spacing))) {
        throw Error(ErrorCode::invalid_argument,
                    "preprocessing.spacing: expected a spacing above 0, found " + std::to_string(spacing));
      }
    }
  }
}

}  // namespace

Shape resampled_shape(const Shape& shape, const Spacing& original, const Spacing& target) {
  Shape resampled;
  double voxels = 1;
  for (std::size_t a = 0; a < 3; ++a) {
    // Half to even, as numpy rounds. An axis never vanishes.
    const double exact = original[a] / target[a] * static_cast<double>(shape[a]);
    const double rounded = std::max(1.0, std::nearbyint(exact));
    voxels *= rounded;
    if (!(rounded <= kLongestAxis) || voxels > 0x1p42) {
      throw Error(ErrorCode::invalid_image, "spacing along network axis " + std::to_string(a) +
                                                ": expected one near the model's " + std::to_string(target[a]) +
                                                " mm, found " + std::to_string(original[a]) + " mm (" +
                                                std::to_string(exact) + " voxels after resampling)");
    }
    resampled[a] = static_cast<std::int64_t>(rounded);
  }
  return resampled;
}

SurveyOptions PreprocessPlan::survey_options(const Geometry& geometry, const model::Preprocessing& configuration) {
  check(configuration);
  const AxisMap frame =
      transposed(map_to_orientation(geometry.affine, configuration.orientation), configuration.transpose_forward);
  const Spacing original = frame.spacing(geometry.spacing);
  const int separate = separate_axis(original, configuration.spacing.value_or(original));
  SurveyOptions options;
  options.planes_across_width = separate >= 0 && frame.source[index(separate)] == 2;
  options.mask = std::any_of(configuration.normalization.begin(), configuration.normalization.end(),
                             [](const model::Normalization& n) { return n.use_mask; });
  return options;
}

PreprocessPlan::PreprocessPlan(const Geometry& geometry, const Survey& survey,
                               const model::Preprocessing& configuration)
    : geometry_(geometry), configuration_(configuration), box_(survey.box) {
  check(configuration);
  if (box_.empty()) throw Error(ErrorCode::internal, "a plan was asked for an image without a nonzero voxel");
  oriented_ = map_to_orientation(geometry.affine, configuration.orientation);
  frame_ = transposed(oriented_, configuration.transpose_forward);
  original_spacing_ = oriented_.spacing(geometry.spacing);
  const Spacing original = frame_.spacing(geometry.spacing);
  target_spacing_ = configuration.spacing.value_or(original);
  cropped_shape_ = frame_.shape(box_.size());
  shape_ = resampled_shape(cropped_shape_, original, target_spacing_);
  separate_axis_ = separate_axis(original, target_spacing_);
}

bool PreprocessPlan::uses_mask() const {
  return std::any_of(configuration_.normalization.begin(), configuration_.normalization.end(),
                     [](const model::Normalization& n) { return n.use_mask; });
}

AxisOperator PreprocessPlan::in_file_frame(AxisOperator op, int network_axis) const {
  return frame_.flip[index(network_axis)] ? mirrored(op) : op;
}

ResamplePlan PreprocessPlan::channel_plan(const Survey& survey, int channel) const {
  ResamplePlan plan;
  plan.box = box_;
  for (int a = 0; a < 3; ++a) {
    const std::int64_t in = cropped_shape_[index(a)], out = shape_[index(a)];
    plan.along[index(frame_.source[index(a)])] =
        in_file_frame(a == separate_axis_ ? nearest_operator(in, out) : cubic_operator(in, out), a);
  }
  const Survey::Ranges& ranges = survey.channels.at(index(channel));
  if (separate_axis_ < 0) {
    plan.low = {ranges.lowest};
    plan.high = {ranges.highest};
    return plan;
  }
  // Every slice across the separate axis has a range of its own; an output slice is a copy of one of them.
  plan.clip_axis = frame_.source[index(separate_axis_)];
  const std::size_t axis = index(plan.clip_axis);
  for (const std::int64_t from : plan.along[axis].first) {
    plan.low.push_back(ranges.low[axis].at(index(from)));
    plan.high.push_back(ranges.high[axis].at(index(from)));
  }
  return plan;
}

std::array<AxisOperator, 3> PreprocessPlan::mask_operators() const {
  std::array<AxisOperator, 3> along;
  for (int a = 0; a < 3; ++a) {
    const std::int64_t in = cropped_shape_[index(a)], out = shape_[index(a)];
    along[index(frame_.source[index(a)])] =
        in_file_frame(a == separate_axis_ ? nearest_operator(in, out) : linear_operator(in, out), a);
  }
  return along;
}

std::array<AxisOperator, 3> PreprocessPlan::export_operators() const {
  // nnU-Net decides this after it has undone the transposition, but with the target spacing still in the transposed
  // order: so a plan that transposes can resample another axis separately on the way back. Its labels are reproduced.
  const int separate_oriented = separate_axis(original_spacing_, target_spacing_);
  std::array<AxisOperator, 3> along;
  for (std::size_t a = 0; a < 3; ++a) {
    const bool separate = configuration_.transpose_forward[a] == separate_oriented;
    along[a] =
        separate ? nearest_operator(shape_[a], cropped_shape_[a]) : linear_operator(shape_[a], cropped_shape_[a]);
  }
  return along;
}

}  // namespace e2enet::imaging
