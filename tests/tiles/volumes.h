// Synthetic volumes, and sinks that keep what they are given.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tiles/sliding_window.h"
#include "tiles/volume_pipeline.h"

namespace e2enet::test {

class KeepLabels : public tiles::LabelSink {
 public:
  explicit KeepLabels(const Shape& shape) : slice_(shape[1] * shape[2]) {
    labels.resize(std::size_t(shape[0] * slice_));
  }
  void consume(std::int64_t first, std::int64_t slices, const std::uint16_t* values) override {
    CHECK(first == next_);
    next_ += slices;
    std::copy_n(values, slices * slice_, labels.begin() + first * slice_);
  }
  std::vector<std::uint16_t> labels;

 private:
  std::int64_t slice_;
  std::int64_t next_ = 0;
};

// All probabilities of the network's volume at once, as the original holds them: (classes, D, H, W).
class KeepProbabilities : public tiles::SliceSink {
 public:
  KeepProbabilities(int classes, const Shape& shape)
      : values(std::size_t(classes * shape[0] * shape[1] * shape[2])), classes_(classes), shape_(shape) {}
  void consume(const tiles::FinishedSlices& slices) override {
    const std::int64_t plane = shape_[1] * shape_[2];
    for (int d = slices.begin(); d < slices.end(); ++d) {
      for (int c = 0; c < classes_; ++c) {
        std::copy_n(slices.slice(d) + c * plane, plane, values.begin() + (c * shape_[0] + d) * plane);
      }
    }
  }
  std::vector<float> values;

 private:
  int classes_;
  Shape shape_;
};

// Noise with structure, and a border of zeros to be cropped.
inline std::vector<float> synthetic_image(const Shape& shape, std::uint32_t seed = 7) {
  std::vector<float> voxels(std::size_t(shape[0] * shape[1] * shape[2]), 0.0f);
  std::uint32_t state = seed;
  std::size_t at = 0;
  for (std::int64_t d = 0; d < shape[0]; ++d) {
    for (std::int64_t h = 0; h < shape[1]; ++h) {
      for (std::int64_t w = 0; w < shape[2]; ++w, ++at) {
        state = state * 1664525u + 1013904223u;
        const bool border = d < 1 || h < 2 || w < 3 || d >= shape[0] - 2 || w >= shape[2] - 1;
        if (!border) voxels[at] = float(d * 3 + h - w) + float(state >> 8) / 100000.0f;
      }
    }
  }
  return voxels;
}

}  // namespace e2enet::test
