// Normalisation of a channel: the statistics that its scheme asks for, and what it does to values.
#pragma once

#include <cstdint>

#include "model/preprocessing.h"

namespace e2enet::imaging {

// Mean and standard deviation, gathered slice by slice in the file's order so that the bits never depend on threads or
// on how slices were grouped.
class ChannelStatistics {
 public:
  explicit ChannelStatistics(const model::Normalization& normalization) : normalization_(normalization) {}

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
  model::Normalization normalization_;
  Slice total_;
};

// Normalisation of single values once the statistics are known.
class Normalizer {
 public:
  // Throws Error (invalid_image), naming the channel, where the image's statistics cannot be used (ct2 without spread).
  Normalizer(const model::Normalization& normalization, const ChannelStatistics& statistics, int channel);
  // In place. `mask` (1 inside) may be null if the channel does not use it.
  void apply(float* values, const std::uint8_t* mask, std::int64_t count) const;

 private:
  bool use_mask_, identity_;
  double low_, high_, mean_, divisor_;
};

}  // namespace e2enet::imaging
