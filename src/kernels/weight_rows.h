// Rows of weights as a kernel keeps them: as floats, or as integers of 16 bits with a scale for each output, which take
// half the memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/sparse_kernels.h"

namespace e2enet::kernels {

// By which `largest` is the largest integer of 16 bits. What is not finite becomes the scale itself, and so the layer's
// output. Numbers that vanish beside a norm's epsilon are zero, and no scale is so small that its reciprocal is
// infinite.
float integer_scale(double largest);

// The larger of `largest` and the magnitude of `value`. What is not a number is larger than all others.
double larger_magnitude(double largest, double value);

// A weight is its integer times the scale of its output, off by at most half a 32 767th of the output's largest. Rows
// follow each other; where each begins is known to whoever made them.
class WeightRows {
 public:
  // Whole vectors that are loaded may reach so many weights beyond a row.
  static constexpr std::size_t kSpare = 16;

  // Of so many outputs at most a row has the weights.
  static constexpr int kMostTogether = 8;

  // Makes room for `count` weights of `outputs` outputs.
  WeightRows(bool as_integers, std::size_t count, std::size_t outputs);
  // The next row: `count` weights of the next `together` outputs, which take turns.
  void add_row(const float* weights, std::size_t count, int together = 1);

  bool as_integers() const { return as_integers_; }
  const float* floats() const { return floats_.data(); }
  const std::int16_t* integers() const { return integers_.data(); }
  const float* scales() const { return scales_.data(); }  // of integers, for each output

  // Floats of scratch memory in which a row of so many weights is widened: whole cache lines.
  static std::size_t widened_floats(bool as_integers, std::size_t row) {
    return as_integers ? (row + kSpare + 15) / 16 * 16 : 0;
  }

  // That so many weights of so many outputs take.
  static std::size_t bytes(bool as_integers, std::size_t count, std::size_t outputs);
  std::size_t bytes() const;

 private:
  bool as_integers_;
  std::size_t count_ = 0;
  std::vector<float> floats_;
  std::vector<std::int16_t> integers_;
  std::vector<float> scales_;
};

// A copy of a layer's kernels as they are, the kept ones of an output being a row.
class SparseWeights {
 public:
  SparseWeights(const SparseKernels& kernels, bool as_integers);

  // Without values where they are kept as integers.
  SparseKernels view() const;
  const WeightRows& weights() const { return weights_; }

  static std::size_t bytes(const KernelCounts& counts, bool as_integers);
  std::size_t bytes() const;

 private:
  int outputs_;
  int inputs_;
  int taps_;
  std::vector<std::int32_t> row_begin_;
  std::vector<std::int32_t> input_;
  WeightRows weights_;
};

}  // namespace e2enet::kernels
