// Statistics of an item's outputs, taken while they are in registers.
#if defined(E2ENET_KERNELS_WINOGRAD_STATISTICS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef E2ENET_KERNELS_WINOGRAD_STATISTICS_INL_H
#undef E2ENET_KERNELS_WINOGRAD_STATISTICS_INL_H
#else
#define E2ENET_KERNELS_WINOGRAD_STATISTICS_INL_H
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "kernels/convolution.h"
#include "kernels/vector-inl.h"
#include "kernels/winograd/plan.h"
#include "kernels/winograd/transforms-inl.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {
namespace winograd_kernels {

// Mean and squared deviations of an item's values of one channel: per lane over the 16 pixels of a tile, where they are
// in registers, then merged over lanes. Never a difference of large sums, so a mean far above the deviation is
// harmless.
class ItemStatistics {
 public:
  // All lanes and pixels valid.
  HWY_INLINE void add_whole(const TileVectors& y, int vector) {
    const Floats d;
    FloatVector sum[kTile];
    E2ENET_UNROLL(4)
    for (int r = 0; r < kTile; ++r) {
      const FloatVector* row = y + r * kTile;
      sum[r] = hn::Add(hn::Add(row[0], row[1]), hn::Add(row[2], row[3]));
    }
    const FloatVector mean =
        hn::Mul(hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3])), hn::Set(d, 1.0f / (kTile * kTile)));
    FloatVector squares0 = hn::Zero(d), squares1 = hn::Zero(d);
    E2ENET_UNROLL(8)
    for (int i = 0; i < kTile * kTile; i += 2) {
      const FloatVector deviation0 = hn::Sub(y[i], mean);
      const FloatVector deviation1 = hn::Sub(y[i + 1], mean);
      squares0 = hn::MulAdd(deviation0, deviation0, squares0);
      squares1 = hn::MulAdd(deviation1, deviation1, squares1);
    }
    store(mean, hn::Add(squares0, squares1), vector);
  }

  // valid[i]: 1 or 0 per lane for pixel i; reciprocal: of the number of valid pixels per lane.
  HWY_INLINE void add_partial(const TileVectors& y, const float* valid, std::size_t stride, FloatVector reciprocal,
                              int vector) {
    const Floats d;
    FloatVector sum = hn::Zero(d);  // of differences from pixel 0, which is valid if any is
    E2ENET_UNROLL(16)
    for (int i = 1; i < kTile * kTile; ++i) {
      sum = hn::MulAdd(hn::Sub(y[i], y[0]), hn::Load(d, valid + i * stride), sum);
    }
    const FloatVector mean = hn::MulAdd(sum, reciprocal, y[0]);
    FloatVector squares = hn::Zero(d);
    E2ENET_UNROLL(16)
    for (int i = 0; i < kTile * kTile; ++i) {
      const FloatVector deviation = hn::Mul(hn::Sub(y[i], mean), hn::Load(d, valid + i * stride));
      squares = hn::MulAdd(deviation, deviation, squares);
    }
    store(mean, squares, vector);
  }

  // counts: valid pixels per lane, or nullptr where all lanes and pixels are.
  HWY_INLINE PartialStatistics finish(int vectors, const float* counts, std::int64_t voxels) const {
    const Floats d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    const FloatVector whole = hn::Set(d, float(kTile * kTile));
    const FloatVector pivot = hn::Set(d, means_[0]);
    FloatVector sum = hn::Zero(d);
    for (int v = 0; v < vectors; ++v) {
      const FloatVector count = counts ? hn::Load(d, counts + v * lanes) : whole;
      sum = hn::MulAdd(count, hn::Sub(hn::Load(d, means_ + v * lanes), pivot), sum);
    }
    const FloatVector offset = hn::Mul(hn::SumOfLanes(d, sum), hn::Set(d, 1.0f / static_cast<float>(voxels)));
    FloatVector squares = hn::Zero(d);
    for (int v = 0; v < vectors; ++v) {
      const FloatVector count = counts ? hn::Load(d, counts + v * lanes) : whole;
      const FloatVector deviation = hn::Sub(hn::Sub(hn::Load(d, means_ + v * lanes), pivot), offset);
      squares = hn::Add(squares, hn::Load(d, squares_ + v * lanes));
      squares = hn::MulAdd(count, hn::Mul(deviation, deviation), squares);
    }
    return {hn::GetLane(hn::Add(pivot, offset)), hn::GetLane(hn::SumOfLanes(d, squares))};
  }

 private:
  HWY_INLINE void store(FloatVector mean, FloatVector squares, int vector) {
    const Floats d;
    hn::Store(mean, d, means_ + vector * hn::Lanes(d));
    hn::Store(squares, d, squares_ + vector * hn::Lanes(d));
  }

  HWY_ALIGN float means_[winograd::kMaxLanes];
  HWY_ALIGN float squares_[winograd::kMaxLanes];
};

}  // namespace winograd_kernels
}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
