#include "prepare/axis_operator.h"

#include <algorithm>
#include <cmath>

namespace e2enet::imaging {
namespace {

constexpr std::int64_t kPadding = 12;
constexpr double kNegligible = 1e-11;

double coordinate(std::int64_t input_size, std::int64_t output_size, std::int64_t j) {
  const double scale = static_cast<double>(input_size) / static_cast<double>(output_size);
  return (static_cast<double>(j) + 0.5) * scale - 0.5;
}

AxisOperator empty_operator(std::int64_t input_size, std::int64_t output_size) {
  AxisOperator op;
  op.input_size = input_size;
  op.output_size = output_size;
  op.first.resize(static_cast<std::size_t>(output_size));
  return op;
}

}  // namespace

AxisOperator identity_operator(std::int64_t size) {
  AxisOperator op = empty_operator(size, size);
  op.weights.assign(static_cast<std::size_t>(size), 1.0);
  for (std::int64_t j = 0; j < size; ++j) op.first[static_cast<std::size_t>(j)] = j;
  op.selects_in_order = true;
  return op;
}

AxisOperator cubic_operator(std::int64_t input_size, std::int64_t output_size) {
  if (input_size == output_size) return identity_operator(input_size);
  const double pole = std::sqrt(3.0) - 2.0;
  // Coefficient i of the spline is sum over k of sqrt(3) pole^|k| x[i + k].
  std::int64_t reach = 0;
  while (std::pow(-pole, static_cast<double>(reach)) > kNegligible) ++reach;
  const std::int64_t padded_size = input_size + 2 * kPadding;
  const auto input_index = [&](std::int64_t padded_index) {
    std::int64_t i = padded_index;
    while (i < 0 || i >= padded_size) i = i < 0 ? -1 - i : 2 * padded_size - 1 - i;
    return std::clamp<std::int64_t>(i - kPadding, 0, input_size - 1);
  };

  AxisOperator op = empty_operator(input_size, output_size);
  // A window of the four taps and the prefilter's reach on both sides, clamped to the input.
  op.taps = std::min(input_size, 2 * reach + 4);
  op.weights.assign(static_cast<std::size_t>(output_size * op.taps), 0.0);
  for (std::int64_t j = 0; j < output_size; ++j) {
    const double x = coordinate(input_size, output_size, j);
    const std::int64_t start = static_cast<std::int64_t>(std::floor(x));
    const double t = x - static_cast<double>(start), u = 1.0 - t;
    const double spline[4] = {u * u * u / 6.0, (t * t * (t - 2.0) * 3.0 + 4.0) / 6.0,
                              (u * u * (u - 2.0) * 3.0 + 4.0) / 6.0, t * t * t / 6.0};
    const std::int64_t first = std::clamp<std::int64_t>(start - 1 - reach, 0, input_size - op.taps);
    op.first[static_cast<std::size_t>(j)] = first;
    double* row = op.weights.data() + j * op.taps;
    for (std::int64_t tap = 0; tap < 4; ++tap) {
      const std::int64_t center = start - 1 + tap + kPadding;
      for (std::int64_t k = -reach; k <= reach; ++k) {
        const double weight = std::sqrt(3.0) * std::pow(-pole, static_cast<double>(std::abs(k))) * (k % 2 ? -1.0 : 1.0);
        row[input_index(center + k) - first] += spline[tap] * weight;
      }
    }
  }
  return op;
}

AxisOperator linear_operator(std::int64_t input_size, std::int64_t output_size) {
  if (input_size == output_size) return identity_operator(input_size);
  AxisOperator op = empty_operator(input_size, output_size);
  op.taps = std::min<std::int64_t>(2, input_size);
  op.weights.assign(static_cast<std::size_t>(output_size * op.taps), 0.0);
  for (std::int64_t j = 0; j < output_size; ++j) {
    const double x = std::clamp(coordinate(input_size, output_size, j), 0.0, static_cast<double>(input_size - 1));
    const std::int64_t start = static_cast<std::int64_t>(std::floor(x));
    const double t = x - static_cast<double>(start);
    const std::int64_t first = std::min(start, input_size - op.taps);
    op.first[static_cast<std::size_t>(j)] = first;
    double* row = op.weights.data() + j * op.taps;
    row[start - first] = 1.0 - t;
    if (start + 1 < input_size) row[start + 1 - first] = t;
  }
  return op;
}

AxisOperator nearest_operator(std::int64_t input_size, std::int64_t output_size) {
  if (input_size == output_size) return identity_operator(input_size);
  AxisOperator op = empty_operator(input_size, output_size);
  op.weights.assign(static_cast<std::size_t>(output_size), 1.0);
  for (std::int64_t j = 0; j < output_size; ++j) {
    const double x = std::clamp(coordinate(input_size, output_size, j), 0.0, static_cast<double>(input_size - 1));
    op.first[static_cast<std::size_t>(j)] = std::min(static_cast<std::int64_t>(std::floor(x + 0.5)), input_size - 1);
  }
  return op;
}

AxisOperator mirrored(const AxisOperator& op) {
  AxisOperator result = op;
  for (std::int64_t j = 0; j < op.output_size; ++j) {
    const std::int64_t from = op.output_size - 1 - j;
    result.first[static_cast<std::size_t>(j)] = op.input_size - op.taps - op.first[static_cast<std::size_t>(from)];
    std::reverse_copy(op.row(from), op.row(from) + op.taps, result.weights.begin() + j * op.taps);
  }
  return result;
}

}  // namespace e2enet::imaging
