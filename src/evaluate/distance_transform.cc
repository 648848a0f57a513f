// The lower envelope of parabolas, axis by axis (Felzenszwalb and Huttenlocher, "Distance transforms of sampled
// functions", Theory of Computing 8, 2012). Squared distance is separable, so three passes of one-dimensional
// transforms are exact.
#include "evaluate/distance_transform.h"

#include <algorithm>
#include <cstddef>
#include <limits>

#include "base/parallel.h"

namespace e2enet::evaluate {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Working memory of one line; one per thread.
struct Envelope {
  explicit Envelope(std::size_t longest) : values(longest), apex(longest), begins(longest + 1) {}
  std::vector<double> values;        // the line as it was
  std::vector<std::ptrdiff_t> apex;  // sample index of each parabola of the envelope, left to right
  std::vector<double> begins;        // position (mm) from which that parabola is the lowest
};

void transform_line(double* line, std::ptrdiff_t count, std::ptrdiff_t stride, double spacing, Envelope& envelope) {
  double* values = envelope.values.data();
  std::ptrdiff_t* apex = envelope.apex.data();
  double* begins = envelope.begins.data();
  std::ptrdiff_t parabolas = 0;
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const double value = line[i * stride];
    values[i] = value;
    if (value == kInfinity) continue;  // a parabola at infinity is never the lowest
    const double position = static_cast<double>(i) * spacing;
    double crossing = -kInfinity;
    while (parabolas > 0) {
      const double other = static_cast<double>(apex[parabolas - 1]) * spacing;
      // Written as midpoint plus correction: squares of positions would lose digits in long lines.
      crossing = 0.5 * ((position + other) + (value - values[apex[parabolas - 1]]) / (position - other));
      if (crossing > begins[parabolas - 1]) break;
      --parabolas;
      crossing = -kInfinity;
    }
    apex[parabolas] = i;
    begins[parabolas] = crossing;
    ++parabolas;
  }
  if (parabolas == 0) return;  // all infinite, and stays so
  begins[parabolas] = kInfinity;
  std::ptrdiff_t current = 0;
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const double position = static_cast<double>(i) * spacing;
    while (begins[current + 1] < position) ++current;
    const double distance = static_cast<double>(i - apex[current]) * spacing;
    line[i * stride] = distance * distance + values[apex[current]];
  }
}

}  // namespace

void squared_distance_transform(std::vector<double>& field, const Shape& shape, const Spacing& spacing, int threads) {
  const std::ptrdiff_t depth = shape[0], height = shape[1], width = shape[2];
  const std::ptrdiff_t slice = height * width;
  const auto longest = static_cast<std::size_t>(std::max({depth, height, width}));
  double* const data = field.data();
  std::vector<Envelope> envelopes(static_cast<std::size_t>(threads), Envelope(longest));
  run_team(threads, [&](const Worker& worker) {
    Envelope& envelope = envelopes[static_cast<std::size_t>(worker.thread())];
    worker.for_each(depth, [&](std::int64_t d) {  // within a slice: rows, then columns
      double* const at = data + d * slice;
      for (std::ptrdiff_t h = 0; h < height; ++h) transform_line(at + h * width, width, 1, spacing[2], envelope);
      for (std::ptrdiff_t w = 0; w < width; ++w) transform_line(at + w, height, width, spacing[1], envelope);
    });
    worker.for_each(height, [&](std::int64_t h) {
      for (std::ptrdiff_t w = 0; w < width; ++w)
        transform_line(data + h * width + w, depth, slice, spacing[0], envelope);
    });
  });
}

}  // namespace e2enet::evaluate
