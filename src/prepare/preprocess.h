// From an image to what the network sees, and all that is needed to go back.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "e2enet/volume.h"
#include "image/orientation.h"
#include "image/slice_source.h"
#include "prepare/mask.h"
#include "prepare/resample.h"

namespace e2enet::imaging {

enum class NormalizationScheme {
  ct,      // clip to the given bounds, subtract the given mean, divide by the given standard deviation
  ct2,     // clip to the given bounds; mean and deviation of this image's voxels strictly inside them
  non_ct,  // this image's own mean and deviation
  none,
};

struct ChannelNormalization {
  NormalizationScheme scheme = NormalizationScheme::non_ct;
  double clip_low = 0, clip_high = 0;  // ct, ct2
  double mean = 0, sd = 1;             // ct
  bool use_mask = false;               // zero outside the mask of nonzero voxels; non_ct: statistics over the mask only
};

// The preprocessing part of a model file (docs/model-file.md).
struct PreprocessingConfiguration {
  std::optional<Spacing> spacing;  // D, H, W of the network's frame, mm; none: the image's own
  std::array<int, 3> transpose_forward{0, 1, 2};
  std::vector<ChannelNormalization> normalization;  // one a channel
  std::string orientation;                          // "RAS" and so on; empty: the file's own
};

// What one pass over an image finds out. In the frame of the file.
struct Survey {
  Box box;  // around all voxels that are not 0 (NaN is not) in some channel, within the region
  bool empty() const { return box.empty(); }

  // Lowest and highest value in the box, NaN counting as 0: of each plane across D, H and (if asked for) W.
  struct Ranges {
    std::array<std::vector<float>, 3> low, high;
    float lowest = 0, highest = 0;
  };
  std::vector<Ranges> channels;
  std::optional<BitVolume> mask;  // of the box, holes filled, if asked for
};

// How a pass over an image is made; nothing here changes what it finds.
struct PassOptions {
  bool read_ahead = false;  // the next slices are read on one more thread while the last ones are worked on
  // Called now and then with the slices done so far and all of them, channels counted each. What it throws ends the
  // pass.
  std::function<void(std::int64_t done, std::int64_t total)> progress;
};

struct SurveyOptions {
  std::optional<Box> region;  // only these voxels count, as if the image ended there
  bool mask = false;
  bool planes_across_width = false;
  int threads = 0;
  PassOptions pass;
};

// Throws Error (invalid_image) where the channels' shapes differ or values are infinite, naming the file, the first
// such voxel and their number.
Survey survey_image(const std::vector<SliceSource*>& channels, const SurveyOptions& options);

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
  static SurveyOptions survey_options(const Geometry& geometry, const PreprocessingConfiguration& configuration);

  // Throws Error: invalid_argument (configuration), invalid_image (a size beyond reason). `survey` must not be empty.
  PreprocessPlan(const Geometry& geometry, const Survey& survey, const PreprocessingConfiguration& configuration);

  const Geometry& geometry() const { return geometry_; }
  const Box& box() const { return box_; }                        // in the file's frame
  const AxisMap& frame() const { return frame_; }                // the network's axes in the file's
  const Shape& cropped_shape() const { return cropped_shape_; }  // of the box, in the network's frame
  const Shape& shape() const { return shape_; }                  // after resampling, in the network's frame
  int channels() const { return static_cast<int>(configuration_.normalization.size()); }
  const PreprocessingConfiguration& configuration() const { return configuration_; }
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
  PreprocessingConfiguration configuration_;
  Box box_;
  AxisMap oriented_, frame_;
  Shape cropped_shape_, shape_;
  Spacing original_spacing_;  // in the oriented frame
  Spacing target_spacing_;    // in the network's frame
  int separate_axis_;         // in the network's frame, -1 if none
};

// Mean and standard deviation, gathered slice by slice in the file's order so that the bits never depend on threads or
// on how slices were grouped.
class ChannelStatistics {
 public:
  explicit ChannelStatistics(const ChannelNormalization& normalization) : normalization_(normalization) {}

  // One resampled slice. `mask` (1 inside) may be null if the channel does not use it.
  struct Slice {
    std::int64_t count = 0;
    double mean = 0, squares = 0;  // squares: sum of squared deviations
  };
  Slice of_slice(const float* values, const std::uint8_t* mask, std::int64_t count) const;
  // Must be called in the order of slices.
  void add(const Slice& slice);

  bool needed() const;
  std::int64_t count() const { return total_.count; }
  double mean() const { return total_.mean; }
  double standard_deviation() const;

 private:
  ChannelNormalization normalization_;
  Slice total_;
};

// Normalisation of single values once the statistics are known.
class Normalizer {
 public:
  // Throws Error (invalid_image), naming the channel, where the image's statistics cannot be used (ct2 without spread).
  Normalizer(const ChannelNormalization& normalization, const ChannelStatistics& statistics, int channel);
  // In place. `mask` (1 inside) may be null if the channel does not use it.
  void apply(float* values, const std::uint8_t* mask, std::int64_t count) const;

 private:
  bool use_mask_, identity_;
  double low_, high_, mean_, divisor_;
};

// Zeros around a volume that is smaller than the patch.
struct Padding {
  Shape before{0, 0, 0};
  Shape padded_shape{0, 0, 0};
};
Padding padding_for_patch(const Shape& shape, const std::array<int, 3>& patch);

// The network's input for a whole volume.
struct Preprocessed {
  int channels = 0;
  Shape shape{0, 0, 0};  // without padding
  Padding padding;
  AlignedBuffer voxels;  // (channels, padding.padded_shape)

  float* channel(int c) {
    return reinterpret_cast<float*>(voxels.data()) +
           c * padding.padded_shape[0] * padding.padded_shape[1] * padding.padded_shape[2];
  }
  const float* channel(int c) const { return const_cast<Preprocessed*>(this)->channel(c); }
};

// Allocates the result and a few slices of working memory. `survey` is what survey_image() found with
// survey_options(); `patch` (1, 1, 1) pads nothing. `survey.mask` is taken over.
Preprocessed preprocess(const PreprocessPlan& plan, const std::vector<SliceSource*>& channels, Survey& survey,
                        const std::array<int, 3>& patch, int threads, const PassOptions& pass = {});

// The network's input a few slices at a time, for a volume that is too large to be held as a whole: the same values as
// preprocess() gives, bit for bit. Possible where the network's slices are the file's and in the file's order.
class PreparedWindow {
 public:
  static bool possible(const AxisMap& frame) { return frame.source[0] == 0 && !frame.flip[0]; }

  // Makes a pass over the image for each channel whose normalisation needs statistics of its own. Holds up to
  // `capacity` slices. `plan` and the channels must outlive this; `survey.mask` is taken over. Throws Error.
  PreparedWindow(const PreprocessPlan& plan, const std::vector<SliceSource*>& channels, Survey& survey,
                 std::int64_t capacity, int threads, const PassOptions& pass);
  ~PreparedWindow();

  // Slices [begin, end) of all channels, no more than the capacity. Neither bound may be below that of an earlier call.
  // Slice begin of channel 0 is where the result points to; it is valid until the next call.
  const float* slices(std::int64_t begin, std::int64_t end);
  std::int64_t channel_stride() const { return capacity_ * plan_.shape()[1] * plan_.shape()[2]; }

 private:
  struct Channel;
  void prepare(std::int64_t begin, std::int64_t count);

  const PreprocessPlan& plan_;
  std::int64_t capacity_;
  int threads_;
  std::vector<std::unique_ptr<Channel>> channels_;
  std::optional<MaskResampler> mask_;
  AlignedBuffer block_, block_mask_;  // slices in the file's frame
  AlignedBuffer window_;              // (channels, capacity, H, W)
  std::int64_t begin_ = 0, end_ = 0;  // slices in the window
};

}  // namespace e2enet::imaging
