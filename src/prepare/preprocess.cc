#include "prepare/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/checked_size.h"
#include "base/parallel.h"
#include "e2enet/error.h"
#include "image/formats/read_ahead.h"
#include "prepare/line_kernels.h"

namespace e2enet::imaging {
namespace {

constexpr std::int64_t kSlicesTogether = 8;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
// A spacing that asks for more is a mistake in the image or the model.
constexpr double kLongestAxis = 1 << 20;

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

std::string shape_text(const Shape& s) {
  return std::to_string(s[0]) + " x " + std::to_string(s[1]) + " x " + std::to_string(s[2]);
}

// Range and count of the values that are neither 0 nor NaN, of planes across one axis.
struct PlaneRanges {
  explicit PlaneRanges(std::int64_t planes)
      : low(index(planes), kInfinity), high(index(planes), -kInfinity), values(index(planes), 0) {}
  void add(std::int64_t plane, float lowest, float highest, std::int64_t count) {
    if (count == 0) return;
    low[index(plane)] = std::min(low[index(plane)], lowest);
    high[index(plane)] = std::max(high[index(plane)], highest);
    values[index(plane)] += count;
  }
  std::vector<float> low, high;
  std::vector<std::int64_t> values;
};

// Reads the region again to say where the infinite values are that a pass over it has found.
[[noreturn]] void refuse_infinite(SliceSource& source, std::size_t channel, const Box& region) {
  const Shape shape = source.shape();
  std::vector<float> slice(index(source.slice_size()));
  std::int64_t count = 0;
  std::string first;
  for (std::int64_t d = region.begin[0]; d < region.end[0]; ++d) {
    source.read(d, d + 1, slice.data());
    for (std::int64_t h = region.begin[1]; h < region.end[1]; ++h) {
      for (std::int64_t w = region.begin[2]; w < region.end[2]; ++w) {
        if (!std::isinf(slice[index(h * shape[2] + w)])) continue;
        if (count++ > 0) continue;
        first = "(" + std::to_string(w) + ", " + std::to_string(h) + ", " + std::to_string(d) + ")";
      }
    }
  }
  const std::string where = source.name().empty() ? "channel " + std::to_string(channel) : source.name();
  throw Error(ErrorCode::invalid_image, where + ": voxels: expected finite values (of float32), found " +
                                            std::to_string(count) + " infinite, the first at (i, j, k) = " + first);
}

}  // namespace

Survey survey_image(const std::vector<SliceSource*>& channels, const SurveyOptions& options) {
  const Shape image = channels.at(0)->shape();
  for (std::size_t c = 1; c < channels.size(); ++c) {
    if (channels[c]->shape() != image) {
      throw Error(ErrorCode::invalid_image, "channel " + std::to_string(c) + ": shape: expected " + shape_text(image) +
                                                " as channel 0, found " + shape_text(channels[c]->shape()));
    }
  }
  const int threads = options.threads > 0 ? options.threads : available_threads();
  Box region = options.region.value_or(Box{{0, 0, 0}, image});
  for (std::size_t a = 0; a < 3; ++a) {
    if (region.begin[a] < 0 || region.end[a] > image[a] || region.begin[a] >= region.end[a]) {
      throw Error(ErrorCode::invalid_argument,
                  "region of interest: expected a part of " + std::to_string(image[a]) + " voxels along axis " +
                      "DHW"[a] + ", found " + std::to_string(region.begin[a]) + ":" + std::to_string(region.end[a]));
    }
  }
  const Shape size = region.size();
  Survey survey;
  if (options.mask) survey.mask.emplace(size);

  std::vector<std::array<PlaneRanges, 3>> ranges;
  for (std::size_t c = 0; c < channels.size(); ++c) {
    ranges.push_back({PlaneRanges(size[0]), PlaneRanges(size[1]), PlaneRanges(size[2])});
  }
  // Of the region: where the box lies.
  Shape low = size, high{0, 0, 0};

  // Summaries of the rows of the slices in work, and of columns for each thread.
  std::vector<RowSummary> rows(index(kSlicesTogether * size[1]));
  std::vector<PlaneRanges> columns;
  AlignedBuffer staging;
  for (std::size_t c = 0; c < channels.size(); ++c) {
    std::optional<ReadAhead> ahead;
    if (options.pass.read_ahead) ahead.emplace(*channels[c], region.begin[0], region.end[0]);
    SliceSource& source = ahead ? *ahead : *channels[c];
    if (!channels[c]->view(0, 1) && staging.size() == 0) {
      staging =
          AlignedBuffer(checked_size("slices that are read", kSlicesTogether, channels[c]->slice_size(), sizeof(float)),
                        "slices that are read");
    }
    columns.assign(options.planes_across_width ? index(threads) : 0, PlaneRanges(size[2]));
    for (std::int64_t block = 0; block < size[0]; block += kSlicesTogether) {
      const std::int64_t count = std::min(kSlicesTogether, size[0] - block);
      const std::int64_t first = region.begin[0] + block;
      const float* slices = source.view(first, first + count);
      if (!slices) {
        source.read(first, first + count, reinterpret_cast<float*>(staging.data()));
        slices = reinterpret_cast<float*>(staging.data());
      }
      if (options.pass.progress) {
        options.pass.progress(static_cast<std::int64_t>(c) * size[0] + block,
                              static_cast<std::int64_t>(channels.size()) * size[0]);
      }
      run_team(std::min<int>(threads, static_cast<int>(count)), [&](const Worker& worker) {
        worker.for_each(count, [&](std::int64_t slice) {
          for (std::int64_t h = 0; h < size[1]; ++h) {
            const float* row =
                slices + slice * image[1] * image[2] + (region.begin[1] + h) * image[2] + region.begin[2];
            rows[index(slice * size[1] + h)] = summarise_row(row, size[2]);
            if (options.mask) survey.mask->add_nonzero(block + slice, h, row);
            if (options.planes_across_width) {
              PlaneRanges& mine = columns[index(worker.thread())];
              summarise_columns(row, size[2], mine.low.data(), mine.high.data(), mine.values.data());
            }
          }
        });
      });
      for (std::int64_t slice = 0; slice < count; ++slice) {
        for (std::int64_t h = 0; h < size[1]; ++h) {
          const RowSummary& row = rows[index(slice * size[1] + h)];
          if (row.first == row.end) continue;
          const std::int64_t at[3] = {block + slice, h, row.first};
          const std::int64_t end[3] = {block + slice + 1, h + 1, row.end};
          for (std::size_t a = 0; a < 3; ++a) {
            low[a] = std::min(low[a], at[a]);
            high[a] = std::max(high[a], end[a]);
          }
          ranges[c][0].add(block + slice, row.low, row.high, row.values);
          ranges[c][1].add(h, row.low, row.high, row.values);
        }
      }
    }
    for (const PlaneRanges& mine : columns) {
      for (std::int64_t w = 0; w < size[2]; ++w) {
        ranges[c][2].add(w, mine.low[index(w)], mine.high[index(w)], mine.values[index(w)]);
      }
    }
  }

  survey.channels.resize(channels.size());
  if (low[0] >= high[0]) {
    survey.mask.reset();
    return survey;
  }
  const Box in_region{low, high};
  for (std::size_t a = 0; a < 3; ++a) {
    survey.box.begin[a] = region.begin[a] + low[a];
    survey.box.end[a] = region.begin[a] + high[a];
  }
  const Shape box = survey.box.size();
  for (std::size_t c = 0; c < channels.size(); ++c) {
    Survey::Ranges& result = survey.channels[c];
    for (std::size_t a = 0; a < 3; ++a) {
      if (a == 2 && !options.planes_across_width) continue;
      const std::int64_t plane_size = box[0] * box[1] * box[2] / box[a];
      for (std::int64_t i = 0; i < box[a]; ++i) {
        const std::size_t at = index(low[a] + i);
        const PlaneRanges& plane = ranges[c][a];
        // Nothing outside the box has a value, so fewer values than voxels means that there is a zero inside.
        const bool zero = plane.values[at] < plane_size;
        result.low[a].push_back(zero ? std::min(plane.low[at], 0.0f) : plane.low[at]);
        result.high[a].push_back(zero ? std::max(plane.high[at], 0.0f) : plane.high[at]);
      }
    }
    result.lowest = *std::min_element(result.low[0].begin(), result.low[0].end());
    result.highest = *std::max_element(result.high[0].begin(), result.high[0].end());
    if (std::isinf(result.lowest) || std::isinf(result.highest)) refuse_infinite(*channels[c], c, region);
  }
  if (options.mask) {
    survey.mask = survey.mask->cropped(in_region);
    fill_holes(*survey.mask);
  }
  return survey;
}

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

void check(const PreprocessingConfiguration& configuration) {
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

SurveyOptions PreprocessPlan::survey_options(const Geometry& geometry,
                                             const PreprocessingConfiguration& configuration) {
  check(configuration);
  const AxisMap frame =
      transposed(map_to_orientation(geometry.affine, configuration.orientation), configuration.transpose_forward);
  const Spacing original = frame.spacing(geometry.spacing);
  const int separate = separate_axis(original, configuration.spacing.value_or(original));
  SurveyOptions options;
  options.planes_across_width = separate >= 0 && frame.source[index(separate)] == 2;
  options.mask = std::any_of(configuration.normalization.begin(), configuration.normalization.end(),
                             [](const ChannelNormalization& n) { return n.use_mask; });
  return options;
}

PreprocessPlan::PreprocessPlan(const Geometry& geometry, const Survey& survey,
                               const PreprocessingConfiguration& configuration)
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
                     [](const ChannelNormalization& n) { return n.use_mask; });
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

bool ChannelStatistics::needed() const {
  return normalization_.scheme == NormalizationScheme::non_ct || normalization_.scheme == NormalizationScheme::ct2;
}

ChannelStatistics::Slice ChannelStatistics::of_slice(const float* values, const std::uint8_t* mask,
                                                     std::int64_t count) const {
  const bool bounded = normalization_.scheme == NormalizationScheme::ct2;
  const bool masked = normalization_.scheme == NormalizationScheme::non_ct && normalization_.use_mask;
  const float low = static_cast<float>(normalization_.clip_low), high = static_cast<float>(normalization_.clip_high);
  const auto counts = [&](std::int64_t i) {
    return (!bounded || (values[i] > low && values[i] < high)) && (!masked || mask[i]);
  };
  // Two passes, in eight interleaved sums: exact enough for any mean, and the order is fixed.
  constexpr std::int64_t kSums = 8;
  double sums[kSums] = {};
  std::int64_t counted[kSums] = {};
  for (std::int64_t i = 0; i < count; ++i) {
    const bool use = counts(i);
    sums[i % kSums] += use ? static_cast<double>(values[i]) : 0.0;
    counted[i % kSums] += use;
  }
  Slice slice;
  for (std::int64_t s = 0; s < kSums; ++s) {
    slice.count += counted[s];
    slice.mean += sums[s];
  }
  if (slice.count == 0) return Slice{};
  slice.mean /= static_cast<double>(slice.count);
  double squares[kSums] = {};
  for (std::int64_t i = 0; i < count; ++i) {
    const double deviation = static_cast<double>(values[i]) - slice.mean;
    squares[i % kSums] += counts(i) ? deviation * deviation : 0.0;
  }
  for (const double square : squares) slice.squares += square;
  return slice;
}

void ChannelStatistics::add(const Slice& slice) {
  if (slice.count == 0) return;
  const double before = static_cast<double>(total_.count), more = static_cast<double>(slice.count);
  const double difference = slice.mean - total_.mean;
  total_.count += slice.count;
  total_.mean += difference * (more / (before + more));
  total_.squares += slice.squares + difference * difference * (before * more / (before + more));
}

double ChannelStatistics::standard_deviation() const {
  return total_.count > 0 ? std::sqrt(total_.squares / static_cast<double>(total_.count)) : 0;
}

Normalizer::Normalizer(const ChannelNormalization& normalization, const ChannelStatistics& statistics, int channel)
    : use_mask_(normalization.use_mask),
      identity_(normalization.scheme == NormalizationScheme::none),
      low_(-std::numeric_limits<double>::infinity()),
      high_(std::numeric_limits<double>::infinity()),
      mean_(0),
      divisor_(1) {
  switch (normalization.scheme) {
    case NormalizationScheme::none:
      return;
    case NormalizationScheme::non_ct:
      mean_ = statistics.mean();
      divisor_ = statistics.standard_deviation() + 1e-8;
      return;
    case NormalizationScheme::ct:
    case NormalizationScheme::ct2:
      low_ = normalization.clip_low;
      high_ = normalization.clip_high;
      mean_ = normalization.mean;
      divisor_ = normalization.sd;
      break;
  }
  if (normalization.scheme == NormalizationScheme::ct2) {
    mean_ = statistics.mean();
    divisor_ = statistics.standard_deviation();
    if (!(divisor_ > 0)) {
      throw Error(ErrorCode::invalid_image, "channel " + std::to_string(channel) +
                                                ": voxels: expected different values between " + std::to_string(low_) +
                                                " and " + std::to_string(high_) + " (normalisation CT2), found " +
                                                std::to_string(statistics.count()) + " voxels there and no spread");
    }
  }
  if (!(divisor_ > 0 && std::isfinite(divisor_) && std::isfinite(mean_) && low_ <= high_)) {
    throw Error(ErrorCode::invalid_argument,
                "preprocessing.normalization[" + std::to_string(channel) +
                    "]: expected finite bounds and mean and a standard deviation above 0, found sd " +
                    std::to_string(divisor_) + ", mean " + std::to_string(mean_));
  }
}

void Normalizer::apply(float* values, const std::uint8_t* mask, std::int64_t count) const {
  if (identity_) return;
  for (std::int64_t i = 0; i < count; ++i) {
    const double clipped = std::min(std::max(static_cast<double>(values[i]), low_), high_);
    values[i] = static_cast<float>((clipped - mean_) / divisor_);
  }
  if (!use_mask_) return;
  for (std::int64_t i = 0; i < count; ++i) values[i] = mask[i] ? values[i] : 0.0f;
}

Padding padding_for_patch(const Shape& shape, const std::array<int, 3>& patch) {
  Padding padding;
  for (std::size_t a = 0; a < 3; ++a) {
    const std::int64_t missing = std::max<std::int64_t>(0, patch[a] - shape[a]);
    padding.before[a] = missing / 2;
    padding.padded_shape[a] = shape[a] + missing;
  }
  return padding;
}

namespace {

// Puts a slice of the file's frame to where it belongs in an array of the network's frame.
class Placement {
 public:
  // `before` and `shape` describe the array; `size` is the volume in it, both in the network's frame.
  Placement(const AxisMap& frame, const Shape& size, const Shape& before, const Shape& shape) {
    const std::int64_t strides[3] = {shape[1] * shape[2], shape[2], 1};
    for (std::size_t a = 0; a < 3; ++a) {
      const std::size_t f = index(frame.source[a]);
      origin_ += (before[a] + (frame.flip[a] ? size[a] - 1 : 0)) * strides[a];
      stride_[f] = frame.flip[a] ? -strides[a] : strides[a];
      size_[f] = size[a];
    }
  }
  template <typename T>
  void place(std::int64_t d, const T* slice, T* array) const {
    for (std::int64_t h = 0; h < size_[1]; ++h) {
      T* to = array + origin_ + d * stride_[0] + h * stride_[1];
      const T* from = slice + h * size_[2];
      if (stride_[2] == 1) {
        std::memcpy(to, from, index(size_[2]) * sizeof(T));
      } else {
        for (std::int64_t w = 0; w < size_[2]; ++w) to[w * stride_[2]] = from[w];
      }
    }
  }

 private:
  std::int64_t origin_ = 0;
  std::int64_t stride_[3] = {0, 0, 0};
  Shape size_{0, 0, 0};  // in the file's frame
};

// Resamples the slices of one channel in the order of the file, some at a time. use(d, values, inside) sees each slice
// in the file's frame, on any thread; `inside` is null without a mask. `block` and `block_mask` hold kSlicesTogether
// slices.
template <typename Use>
ChannelStatistics for_each_slice(SliceResampler& resampler, const ChannelNormalization& normalization,
                                 const MaskResampler* mask, const Shape& shape, float* block, std::uint8_t* block_mask,
                                 int threads, const std::function<void(std::int64_t done)>& progress, const Use& use) {
  const std::int64_t slice_size = shape[1] * shape[2];
  ChannelStatistics statistics(normalization);
  for (std::int64_t d = 0; d < shape[0]; d += kSlicesTogether) {
    const std::int64_t count = std::min(kSlicesTogether, shape[0] - d);
    resampler.read(d, d + count, block);
    ChannelStatistics::Slice slices[kSlicesTogether];
    run_team(std::min<int>(threads, static_cast<int>(count)), [&](const Worker& worker) {
      worker.for_each(count, [&](std::int64_t i) {
        const float* values = block + i * slice_size;
        std::uint8_t* inside = mask ? block_mask + i * slice_size : nullptr;
        if (mask) mask->slice(d + i, inside);
        if (statistics.needed()) slices[i] = statistics.of_slice(values, inside, slice_size);
        use(d + i, values, inside);
      });
    });
    for (std::int64_t i = 0; i < count; ++i) statistics.add(slices[i]);
    progress(d + count);
  }
  return statistics;
}

void require_channels(const PreprocessPlan& plan, const std::vector<SliceSource*>& channels) {
  if (static_cast<int>(channels.size()) == plan.channels()) return;
  throw Error(ErrorCode::invalid_image, "channels: expected " + std::to_string(plan.channels()) +
                                            " as the model, found " + std::to_string(channels.size()));
}

}  // namespace

Preprocessed preprocess(const PreprocessPlan& plan, const std::vector<SliceSource*>& channels, Survey& survey,
                        const std::array<int, 3>& patch, int threads, const PassOptions& pass) {
  if (threads <= 0) threads = available_threads();
  require_channels(plan, channels);
  Preprocessed result;
  result.channels = plan.channels();
  result.shape = plan.shape();
  result.padding = padding_for_patch(plan.shape(), patch);
  const Shape& padded = result.padding.padded_shape;
  const std::int64_t padded_voxels = padded[0] * padded[1] * padded[2];
  result.voxels = AlignedBuffer(checked_size("the resampled image", padded_voxels, result.channels, sizeof(float)),
                                "the resampled image");

  const Placement in_result(plan.frame(), plan.shape(), result.padding.before, padded);
  const Placement in_mask(plan.frame(), plan.shape(), {0, 0, 0}, plan.shape());

  std::optional<MaskResampler> mask;
  AlignedBuffer mask_voxels;  // in the network's frame, unpadded
  if (plan.uses_mask()) {
    mask.emplace(std::move(survey.mask.value()), plan.mask_operators(), plan.frame());
    survey.mask.reset();
    mask_voxels =
        AlignedBuffer(checked_size("the mask", plan.shape()[0], plan.shape()[1], plan.shape()[2]), "the mask");
  }
  std::uint8_t* whole_mask = reinterpret_cast<std::uint8_t*>(mask_voxels.data());

  for (int c = 0; c < result.channels; ++c) {
    const ChannelNormalization& normalization = plan.configuration().normalization[index(c)];
    const ResamplePlan channel_plan = plan.channel_plan(survey, c);
    const Shape shape = channel_plan.output_shape();  // in the file's frame
    const std::int64_t slice_size = shape[1] * shape[2];
    std::optional<ReadAhead> ahead;
    if (pass.read_ahead) ahead.emplace(*channels[index(c)], channel_plan.box.begin[0], channel_plan.box.end[0]);
    SliceSource& source = ahead ? *ahead : *channels[index(c)];
    SliceResampler resampler(source, channel_plan, threads);
    AlignedBuffer block(index(kSlicesTogether * slice_size) * sizeof(float), "resampled slices");
    AlignedBuffer block_mask(mask ? index(kSlicesTogether * slice_size) : 0, "slices of the mask");
    const auto progress = [&](std::int64_t done) {
      if (pass.progress) pass.progress(c * shape[0] + done, result.channels * shape[0]);
    };
    const ChannelStatistics statistics =
        for_each_slice(resampler, normalization, mask ? &*mask : nullptr, shape, reinterpret_cast<float*>(block.data()),
                       reinterpret_cast<std::uint8_t*>(block_mask.data()), threads, progress,
                       [&](std::int64_t d, const float* values, const std::uint8_t* inside) {
                         if (inside && c == 0) in_mask.place(d, inside, whole_mask);
                         in_result.place(d, values, result.channel(c));
                       });
    const Normalizer normalizer(normalization, statistics, c);
    const Shape& size = plan.shape();
    run_team(threads, [&](const Worker& worker) {
      worker.for_each(size[0], [&](std::int64_t d) {
        for (std::int64_t h = 0; h < size[1]; ++h) {
          float* row = result.channel(c) +
                       ((d + result.padding.before[0]) * padded[1] + h + result.padding.before[1]) * padded[2] +
                       result.padding.before[2];
          normalizer.apply(row, mask ? whole_mask + (d * size[1] + h) * size[2] : nullptr, size[2]);
        }
      });
    });
  }
  return result;
}

// What one channel needs to give more slices.
struct PreparedWindow::Channel {
  Channel(SliceSource& source, ResamplePlan resampling, int threads)
      : plan(std::move(resampling)), resampler(source, plan, threads) {}
  ResamplePlan plan;
  SliceResampler resampler;
  std::optional<Normalizer> normalizer;
};

PreparedWindow::~PreparedWindow() = default;

PreparedWindow::PreparedWindow(const PreprocessPlan& plan, const std::vector<SliceSource*>& channels, Survey& survey,
                               std::int64_t capacity, int threads, const PassOptions& pass)
    : plan_(plan), capacity_(capacity), threads_(threads > 0 ? threads : available_threads()) {
  require_channels(plan, channels);
  if (!possible(plan.frame())) {
    throw Error(ErrorCode::internal, "a window of prepared slices was asked for across the slices of the file");
  }
  if (plan.uses_mask()) {
    mask_.emplace(std::move(survey.mask.value()), plan.mask_operators(), plan.frame());
    survey.mask.reset();
  }
  const std::int64_t slice_size = plan.shape()[1] * plan.shape()[2];
  block_ =
      AlignedBuffer(checked_size("resampled slices", kSlicesTogether, slice_size, sizeof(float)), "resampled slices");
  block_mask_ =
      AlignedBuffer(mask_ ? checked_size("slices of the mask", kSlicesTogether, slice_size) : 0, "slices of the mask");
  window_ =
      AlignedBuffer(checked_size("slices of the resampled image", plan.channels(), channel_stride(), sizeof(float)),
                    "slices of the resampled image");
  std::int64_t passes = 0, passes_done = 0;
  for (const ChannelNormalization& normalization : plan.configuration().normalization) {
    passes += ChannelStatistics(normalization).needed();
  }
  for (int c = 0; c < plan.channels(); ++c) {
    const ChannelNormalization& normalization = plan.configuration().normalization[index(c)];
    channels_.push_back(std::make_unique<Channel>(*channels[index(c)], plan.channel_plan(survey, c), threads_));
    ChannelStatistics statistics(normalization);
    if (statistics.needed()) {
      // A resampler of its own: it can read ahead, and goes with the pass.
      const ResamplePlan& resampling = channels_.back()->plan;
      std::optional<ReadAhead> ahead;
      if (pass.read_ahead) ahead.emplace(*channels[index(c)], resampling.box.begin[0], resampling.box.end[0]);
      SliceSource& source = ahead ? *ahead : *channels[index(c)];
      SliceResampler resampler(source, resampling, threads_);
      const Shape shape = resampling.output_shape();
      const auto progress = [&](std::int64_t done) {
        if (pass.progress) pass.progress(passes_done * shape[0] + done, passes * shape[0]);
      };
      statistics =
          for_each_slice(resampler, normalization, mask_ ? &*mask_ : nullptr, shape,
                         reinterpret_cast<float*>(block_.data()), reinterpret_cast<std::uint8_t*>(block_mask_.data()),
                         threads_, progress, [](std::int64_t, const float*, const std::uint8_t*) {});
      ++passes_done;
    }
    channels_.back()->normalizer.emplace(normalization, statistics, c);
  }
}

const float* PreparedWindow::slices(std::int64_t begin, std::int64_t end) {
  if (begin < begin_ || end < end_ || end - begin > capacity_) {
    throw Error(ErrorCode::internal, "slices of the resampled image: expected ascending ones, no more than " +
                                         std::to_string(capacity_) + ", found " + std::to_string(begin) + " to " +
                                         std::to_string(end));
  }
  float* window = reinterpret_cast<float*>(window_.data());
  const std::int64_t slice_size = plan_.shape()[1] * plan_.shape()[2];
  const std::int64_t kept = std::max<std::int64_t>(end_ - begin, 0);
  for (int c = 0; kept > 0 && begin > begin_ && c < plan_.channels(); ++c) {
    float* channel = window + c * channel_stride();
    std::memmove(channel, channel + (begin - begin_) * slice_size, index(kept * slice_size) * sizeof(float));
  }
  begin_ = begin;
  end_ = begin + kept;
  while (end_ < end) {
    const std::int64_t count = std::min(kSlicesTogether, end - end_);
    prepare(end_, count);
    end_ += count;
  }
  return window;
}

void PreparedWindow::prepare(std::int64_t begin, std::int64_t count) {
  const Shape& shape = plan_.shape();
  const std::int64_t slice_size = shape[1] * shape[2];
  // The slices of the window are a volume of their own.
  const Placement placement(plan_.frame(), {capacity_, shape[1], shape[2]}, {0, 0, 0}, {capacity_, shape[1], shape[2]});
  float* block = reinterpret_cast<float*>(block_.data());
  std::uint8_t* block_mask = reinterpret_cast<std::uint8_t*>(block_mask_.data());
  const int team = std::min<int>(threads_, static_cast<int>(count));
  if (mask_) {
    run_team(team, [&](const Worker& worker) {
      worker.for_each(count, [&](std::int64_t i) { mask_->slice(begin + i, block_mask + i * slice_size); });
    });
  }
  for (int c = 0; c < plan_.channels(); ++c) {
    Channel& channel = *channels_[index(c)];
    channel.resampler.read(begin, begin + count, block);
    float* window = reinterpret_cast<float*>(window_.data()) + c * channel_stride();
    run_team(team, [&](const Worker& worker) {
      worker.for_each(count, [&](std::int64_t i) {
        float* values = block + i * slice_size;
        channel.normalizer->apply(values, mask_ ? block_mask + i * slice_size : nullptr, slice_size);
        placement.place(begin - begin_ + i, values, window);
      });
    });
  }
}

}  // namespace e2enet::imaging
