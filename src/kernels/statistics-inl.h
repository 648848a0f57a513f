// From a tile of results in the cache to the output, with the mean and squared deviations of what is written.
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

// Copies `rows` runs of `count` floats to elements and returns the statistics of the floats, before any rounding to
// bf16. Run r begins at from + r * pitch and goes to to_row(r). One pass: sums of x - p and (x - p)^2 with a pivot p
// taken from the first values, so that a mean far from zero cancels before anything is squared. kStream: past the
// caches.
template <bool kStream, typename T, typename ToRow>
HWY_INLINE PartialStatistics copy_with_statistics(const float* from, std::ptrdiff_t pitch, int rows,
                                                  std::ptrdiff_t count, const ToRow& to_row) {
  const Floats d;
  const std::ptrdiff_t lanes = static_cast<std::ptrdiff_t>(hn::Lanes(d));
  const std::size_t rest = static_cast<std::size_t>(count % lanes);
  const std::ptrdiff_t whole = count - static_cast<std::ptrdiff_t>(rest);
  const std::size_t some = static_cast<std::size_t>(std::min(count, lanes));
  const auto valid = hn::FirstN(d, some);
  const float first_sum = hn::GetLane(hn::SumOfLanes(d, hn::IfThenElseZero(valid, hn::LoadU(d, from))));
  const float pivot = first_sum / static_cast<float>(some);
  const FloatVector pivots = hn::Set(d, pivot);
  const auto tail_lanes = hn::FirstN(d, rest);
  const auto store = [&](FloatVector x, T* to) HWY_ATTR {
    if constexpr (kStream && sizeof(T) == sizeof(float)) {
      hn::Stream(x, d, to);
    } else {
      store_elements(d, x, to);
    }
  };
  // Two sets of sums, for the latency of an addition.
  FloatVector sum0 = hn::Zero(d), sum1 = hn::Zero(d), squares0 = hn::Zero(d), squares1 = hn::Zero(d);
  for (int r = 0; r < rows; ++r, from += pitch) {
    T* to = to_row(r);
    std::ptrdiff_t i = 0;
    for (; i + 2 * lanes <= whole; i += 2 * lanes) {
      const FloatVector x0 = hn::LoadU(d, from + i), x1 = hn::LoadU(d, from + i + lanes);
      store(x0, to + i);
      store(x1, to + i + lanes);
      const FloatVector y0 = hn::Sub(x0, pivots), y1 = hn::Sub(x1, pivots);
      sum0 = hn::Add(sum0, y0);
      sum1 = hn::Add(sum1, y1);
      squares0 = hn::MulAdd(y0, y0, squares0);
      squares1 = hn::MulAdd(y1, y1, squares1);
    }
    if (i < whole) {
      const FloatVector x = hn::LoadU(d, from + i);
      store(x, to + i);
      const FloatVector y = hn::Sub(x, pivots);
      sum0 = hn::Add(sum0, y);
      squares0 = hn::MulAdd(y, y, squares0);
    }
    if (rest > 0) {
      const FloatVector x = hn::LoadU(d, from + whole);
      store_some(d, x, to + whole, rest);
      const FloatVector y = hn::IfThenElseZero(tail_lanes, hn::Sub(x, pivots));
      sum1 = hn::Add(sum1, y);
      squares1 = hn::MulAdd(y, y, squares1);
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
