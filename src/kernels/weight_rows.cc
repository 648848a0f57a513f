#include "kernels/weight_rows.h"

#include <algorithm>
#include <cmath>

namespace e2enet::kernels {

float integer_scale(double largest) {
  if (!std::isfinite(largest)) return static_cast<float>(largest);
  return static_cast<float>(std::max(largest / 32767, 1e-30));
}

double larger_magnitude(double largest, double value) {
  return std::isnan(largest) || std::abs(value) <= largest ? largest : std::abs(value);
}

WeightRows::WeightRows(bool as_integers, std::size_t count, std::size_t outputs) : as_integers_(as_integers) {
  if (as_integers) {
    // With the spare weights, which stay zero.
    integers_.assign(count + kSpare, 0);
    scales_.reserve(outputs);
  } else {
    floats_.reserve(count);
  }
}

void WeightRows::add_row(const float* weights, std::size_t count, int together) {
  if (!as_integers_) {
    floats_.insert(floats_.end(), weights, weights + count);
    return;
  }
  std::int16_t* const to = integers_.data() + count_;
  count_ += count;
  const auto step = static_cast<std::size_t>(together);
  for (std::size_t first = 0; first < step; ++first) {
    double largest = 0;
    for (std::size_t i = first; i < count; i += step) largest = larger_magnitude(largest, double{weights[i]});
    const float scale = integer_scale(largest);
    scales_.push_back(scale);
    if (!std::isfinite(scale)) continue;  // with weights of zero, as the memory came
    const double reciprocal = 1.0 / double{scale};
    for (std::size_t i = first; i < count; i += step) {
      to[i] = static_cast<std::int16_t>(std::lrint(double{weights[i]} * reciprocal));
    }
  }
}

std::size_t WeightRows::bytes(bool as_integers, std::size_t count, std::size_t outputs) {
  return as_integers ? (count + kSpare) * sizeof(std::int16_t) + outputs * sizeof(float) : count * sizeof(float);
}

std::size_t WeightRows::bytes() const {
  return (floats_.size() + scales_.size()) * sizeof(float) + integers_.size() * sizeof(std::int16_t);
}

SparseWeights::SparseWeights(const SparseKernels& kernels, bool as_integers)
    : outputs_(kernels.outputs),
      inputs_(kernels.inputs),
      taps_(kernels.taps),
      row_begin_(kernels.row_begin, kernels.row_begin + kernels.outputs + 1),
      input_(kernels.input, kernels.input + kernels.count()),
      weights_(as_integers, static_cast<std::size_t>(kernels.count() * kernels.taps),
               static_cast<std::size_t>(kernels.outputs)) {
  for (int o = 0; o < kernels.outputs; ++o) {
    const std::ptrdiff_t begin = std::ptrdiff_t{kernels.row_begin[o]} * taps_;
    const std::ptrdiff_t end = std::ptrdiff_t{kernels.row_begin[o + 1]} * taps_;
    weights_.add_row(kernels.values + begin, static_cast<std::size_t>(end - begin));
  }
}

SparseKernels SparseWeights::view() const {
  return {outputs_,          inputs_,       taps_,
          row_begin_.data(), input_.data(), weights_.as_integers() ? nullptr : weights_.floats()};
}

std::size_t SparseWeights::bytes(const KernelCounts& counts, bool as_integers) {
  const auto kept = static_cast<std::size_t>(counts.kept);
  const auto outputs = static_cast<std::size_t>(counts.outputs);
  return (outputs + 1 + kept) * sizeof(std::int32_t) +
         WeightRows::bytes(as_integers, kept * static_cast<std::size_t>(counts.taps), outputs);
}

std::size_t SparseWeights::bytes() const {
  return (row_begin_.size() + input_.size()) * sizeof(std::int32_t) + weights_.bytes();
}

}  // namespace e2enet::kernels
