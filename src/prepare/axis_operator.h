// Resampling along one axis as a table of weights.
#pragma once

#include <cstdint>
#include <vector>

namespace e2enet::imaging {

// A banded matrix: output[j] = sum over t of weights[j * taps + t] * input[first[j] + t]. Every interpolation here is
// one, so that a sample is the same sum in the same order whichever part of a volume is computed, and nothing but the
// `taps` neighbouring input slices is needed for an output slice.
struct AxisOperator {
  std::int64_t input_size = 0;
  std::int64_t output_size = 0;
  std::int64_t taps = 1;
  std::vector<std::int64_t> first;  // first[j] >= 0 and first[j] + taps <= input_size
  std::vector<double> weights;

  bool is_identity() const { return taps == 1 && input_size == output_size && selects_in_order; }
  bool selects_in_order = false;  // taps == 1 and first[j] == j

  const double* row(std::int64_t j) const { return weights.data() + j * taps; }
};

AxisOperator identity_operator(std::int64_t size);

// Cubic B-spline interpolation as scipy and skimage do it: coordinates (in / out) * (j + 0.5) - 0.5, the input
// continued by its edge values over 12 voxels and by reflection beyond, prefilter with the pole sqrt(3) - 2, four taps
// of the spline. The prefilter is infinitely long; its weights fall by 0.268 a voxel and are cut where they are below
// 1e-11 of the sum, a thousand times finer than float32. Equal sizes give the identity.
AxisOperator cubic_operator(std::int64_t input_size, std::int64_t output_size);

// Linear interpolation at the same coordinates, clamped to the input.
AxisOperator linear_operator(std::int64_t input_size, std::int64_t output_size);

// The voxel floor(x + 0.5) at the same coordinates x, clamped.
AxisOperator nearest_operator(std::int64_t input_size, std::int64_t output_size);

// The same operator for an axis that runs the other way on both sides.
AxisOperator mirrored(const AxisOperator& op);

}  // namespace e2enet::imaging
