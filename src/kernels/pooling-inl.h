// Max pooling of some pixels of one channel, shared by the pooling of whole features and that fused into convolutions.
#if defined(E2ENET_KERNELS_POOLING_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef E2ENET_KERNELS_POOLING_INL_H
#undef E2ENET_KERNELS_POOLING_INL_H
#else
#define E2ENET_KERNELS_POOLING_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {

// to[pixel][d] = sign * the largest activate(x) over stride.height rows x stride.width pixels x stride.depth depths,
// for `pixels` pooled pixels of `pooled_depth` depths. Row a of the block of pooled pixel 0 begins at from_row(a); an
// input pixel has `depth` elements.
template <typename From, typename T, typename FromRow>
HWY_INLINE void pool_pixels(const FromRow& from_row, int depth, Stride stride, const ActivationVectors& activate,
                            float sign, int pixels, int pooled_depth, T* to) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const FloatVector signs = hn::Set(d, sign);
  // Over rows and pixels of the block, for `count` elements from depth i: what is left is the pooling along depth.
  const auto best_at = [&](int pixel, int i, int count) HWY_ATTR {
    FloatVector best = hn::Set(d, -HUGE_VALF);
    for (int a = 0; a < stride.height; ++a) {
      const From* from = from_row(a) + std::ptrdiff_t{pixel} * stride.width * depth + i;
      for (int b = 0; b < stride.width; ++b, from += depth) {
        best = hn::Max(best, activate(count == lanes ? load_elements(d, from)
                                                     : load_some(d, from, static_cast<std::size_t>(count))));
      }
    }
    return hn::Mul(best, signs);
  };
  const auto store = [&](FloatVector best, int i, int count) HWY_ATTR {
    if (count == lanes) {
      store_elements(d, best, to + i);
    } else {
      store_some(d, best, to + i, static_cast<std::size_t>(count));
    }
  };
  for (int pixel = 0; pixel < pixels; ++pixel, to += pooled_depth) {
    if (stride.depth == 1) {
      for (int i = 0; i < pooled_depth; i += lanes) {
        const int count = std::min(lanes, pooled_depth - i);
        store(best_at(pixel, i, count), i, count);
      }
#if !E2ENET_ONE_LANE  // which has one lane and nothing to interleave
    } else if (stride.depth == 2) {
      for (int i = 0; i < pooled_depth; i += lanes) {
        const int count = std::min(lanes, pooled_depth - i);
        const FloatVector lower = best_at(pixel, 2 * i, std::min(lanes, 2 * count));
        const FloatVector upper = 2 * count > lanes ? best_at(pixel, 2 * i + lanes, 2 * count - lanes) : lower;
        const FloatVector even = hn::ConcatEven(d, upper, lower), odd = hn::ConcatOdd(d, upper, lower);
        store(sign < 0 ? hn::Min(even, odd) : hn::Max(even, odd), i, count);
      }
#endif
    } else {
      HWY_ALIGN float block[HWY_MAX_BYTES / sizeof(float)];
      for (int i = 0; i < pooled_depth; ++i) {
        float best = sign * -HUGE_VALF;
        for (int e = 0; e < stride.depth; e += lanes) {
          const int count = std::min(lanes, stride.depth - e);
          hn::Store(best_at(pixel, i * stride.depth + e, count), d, block);
          for (int l = 0; l < count; ++l) best = sign < 0 ? std::min(best, block[l]) : std::max(best, block[l]);
        }
        store_some(d, hn::Set(d, best), to + i, 1);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
