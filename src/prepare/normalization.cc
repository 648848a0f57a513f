#include "prepare/normalization.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "e2enet/error.h"

namespace e2enet::imaging {

bool ChannelStatistics::needed() const {
  switch (normalization_.scheme) {
    case model::NormalizationScheme::non_ct:
    case model::NormalizationScheme::ct2:
      return true;
    case model::NormalizationScheme::ct:
    case model::NormalizationScheme::none:
      return false;
  }
  throw Error(ErrorCode::internal, "a normalisation of which nobody knows what it needs");
}

ChannelStatistics::Slice ChannelStatistics::of_slice(const float* values, const std::uint8_t* mask,
                                                     std::int64_t count) const {
  const bool bounded = normalization_.scheme == model::NormalizationScheme::ct2;
  const bool masked = normalization_.scheme == model::NormalizationScheme::non_ct && normalization_.use_mask;
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

Normalizer::Normalizer(const model::Normalization& normalization, const ChannelStatistics& statistics, int channel)
    : use_mask_(normalization.use_mask),
      identity_(normalization.scheme == model::NormalizationScheme::none),
      low_(-std::numeric_limits<double>::infinity()),
      high_(std::numeric_limits<double>::infinity()),
      mean_(0),
      divisor_(1) {
  switch (normalization.scheme) {
    case model::NormalizationScheme::none:
      return;
    case model::NormalizationScheme::non_ct:
      mean_ = statistics.mean();
      divisor_ = statistics.standard_deviation() + 1e-8;
      return;
    case model::NormalizationScheme::ct:
    case model::NormalizationScheme::ct2:
      low_ = normalization.clip_low;
      high_ = normalization.clip_high;
      mean_ = normalization.mean;
      divisor_ = normalization.standard_deviation;
      break;
  }
  if (normalization.scheme == model::NormalizationScheme::ct2) {
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

}  // namespace e2enet::imaging
