#include "cli/bootstrap.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>

namespace e2enet::cli {
namespace {

constexpr int kDraws = 10000;

}  // namespace

Interval bootstrap_interval(const std::vector<double>& values) {
  if (values.size() < 2) {
    return {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::quiet_NaN()};
  }
  const auto count = static_cast<std::uint64_t>(values.size());
  // The engine's numbers are the standard's, those of its distributions are each library's own.
  std::mt19937_64 random(20231204);
  std::vector<double> means;
  means.reserve(kDraws);
  for (int draw = 0; draw < kDraws; ++draw) {
    double sum = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      const double part = static_cast<double>(random() >> 11) * 0x1p-53;  // in [0, 1)
      sum += values[static_cast<std::size_t>(part * static_cast<double>(count))];
    }
    means.push_back(sum / static_cast<double>(count));
  }
  std::sort(means.begin(), means.end());
  return {means[kDraws * 25 / 1000], means[kDraws - 1 - kDraws * 25 / 1000]};
}

}  // namespace e2enet::cli
