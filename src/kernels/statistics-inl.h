// Mean and squared deviations of values that were just written and still lie in the cache.
#if defined(E2ENET_KERNELS_STATISTICS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef E2ENET_KERNELS_STATISTICS_INL_H
#undef E2ENET_KERNELS_STATISTICS_INL_H
#else
#define E2ENET_KERNELS_STATISTICS_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>

#include "kernels/convolution.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {

// Of `rows` runs of `count` elements, run r beginning at from_row(r). One pass: sums of x - p and (x - p)^2 with a
// pivot p taken from the first values, so that a mean far from zero cancels before anything is squared.
template <typename T, typename FromRow>
HWY_INLINE PartialStatistics statistics_of(const FromRow& from_row, int rows, std::ptrdiff_t count) {
  const Floats d;
  const std::ptrdiff_t lanes = static_cast<std::ptrdiff_t>(hn::Lanes(d));
  const std::ptrdiff_t whole = count / lanes * lanes;
  const std::size_t rest = static_cast<std::size_t>(count - whole);
  const T* first = from_row(0);
  const std::size_t some = static_cast<std::size_t>(std::min(count, lanes));
  const FloatVector start =
      static_cast<std::ptrdiff_t>(some) == lanes ? load_elements(d, first) : load_some(d, first, some);
  const float pivot = hn::GetLane(hn::SumOfLanes(d, start)) / static_cast<float>(some);
  const FloatVector pivots = hn::Set(d, pivot);
  const auto tail_lanes = hn::FirstN(d, rest);
  // Two sets of sums, for the latency of an addition.
  FloatVector sum0 = hn::Zero(d), sum1 = hn::Zero(d), squares0 = hn::Zero(d), squares1 = hn::Zero(d);
  for (int r = 0; r < rows; ++r) {
    const T* from = from_row(r);
    std::ptrdiff_t i = 0;
    for (; i + 2 * lanes <= whole; i += 2 * lanes) {
      const FloatVector x0 = hn::Sub(load_elements(d, from + i), pivots);
      const FloatVector x1 = hn::Sub(load_elements(d, from + i + lanes), pivots);
      sum0 = hn::Add(sum0, x0);
      sum1 = hn::Add(sum1, x1);
      squares0 = hn::MulAdd(x0, x0, squares0);
      squares1 = hn::MulAdd(x1, x1, squares1);
    }
    if (i < whole) {
      const FloatVector x = hn::Sub(load_elements(d, from + i), pivots);
      sum0 = hn::Add(sum0, x);
      squares0 = hn::MulAdd(x, x, squares0);
    }
    if (rest > 0) {
      const FloatVector x = hn::IfThenElseZero(tail_lanes, hn::Sub(load_some(d, from + whole, rest), pivots));
      sum1 = hn::Add(sum1, x);
      squares1 = hn::MulAdd(x, x, squares1);
    }
  }
  const float voxels = static_cast<float>(rows) * static_cast<float>(count);
  const float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
  const float squares = hn::GetLane(hn::SumOfLanes(d, hn::Add(squares0, squares1)));
  const float shifted_mean = sum / voxels;
  return {pivot + shifted_mean, std::max(0.0f, squares - sum * shifted_mean)};
}

}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
