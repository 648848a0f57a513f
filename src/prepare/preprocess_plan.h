// How an image becomes what the network sees, and how results return: decided once, from its geometry and its survey.
#pragma once

#include <array>

#include "e2enet/volume.h"
#include "image/orientation.h"
#include "model/preprocessing.h"
#include "prepare/resample.h"
#include "prepare/survey.h"

namespace e2enet::imaging {

// The axis (in the order of `spacing`) along which slices are thick enough to be resampled on their own, or -1: the
// ratio of the largest and smallest spacing is above 3, first of `original`, and only if it is not there, of `target`;
// and the largest belongs to one axis only.
int separate_axis(const Spacing& original, const Spacing& target);

// What a volume becomes, all in one order of axes. Throws Error (invalid_image) where that is beyond reason.
Shape resampled_shape(const Shape& shape, const Spacing& original, const Spacing& target);

// Everything about an image that preprocessing and export need, decided once.
class PreprocessPlan {
 public:
  // What survey_image() must look for, known from the geometry.
  static SurveyOptions survey_options(const Geometry& geometry, const model::Preprocessing& configuration);

  // Throws Error: invalid_argument (configuration), invalid_image (a size beyond reason). `survey` must not be empty.
  PreprocessPlan(const Geometry& geometry, const Survey& survey, const model::Preprocessing& configuration);

  const Geometry& geometry() const { return geometry_; }
  const Box& box() const { return box_; }                        // in the file's frame
  const AxisMap& frame() const { return frame_; }                // the network's axes in the file's
  const Shape& cropped_shape() const { return cropped_shape_; }  // of the box, in the network's frame
  const Shape& shape() const { return shape_; }                  // after resampling, in the network's frame
  int channels() const { return static_cast<int>(configuration_.normalization.size()); }
  const model::Preprocessing& configuration() const { return configuration_; }
  bool uses_mask() const;

  // How to resample a channel, in the file's frame.
  ResamplePlan channel_plan(const Survey& survey, int channel) const;
  // How the mask is resampled, along the file's axes.
  std::array<AxisOperator, 3> mask_operators() const;
  // How results return to the cropped shape, along the network's axes.
  std::array<AxisOperator, 3> export_operators() const;

 private:
  AxisOperator in_file_frame(AxisOperator op, int network_axis) const;

  Geometry geometry_;
  model::Preprocessing configuration_;
  Box box_;
  AxisMap oriented_, frame_;
  Shape cropped_shape_, shape_;
  Spacing original_spacing_;  // in the oriented frame
  Spacing target_spacing_;    // in the network's frame
  int separate_axis_;         // in the network's frame, -1 if none
};

}  // namespace e2enet::imaging
