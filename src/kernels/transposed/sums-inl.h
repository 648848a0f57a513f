// All taps of a few vectors of one output, summed in registers over the kept kernels and stored, interleaved along
// depth where the stride asks for it.
#if defined(E2ENET_KERNELS_TRANSPOSED_SUMS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef E2ENET_KERNELS_TRANSPOSED_SUMS_INL_H
#undef E2ENET_KERNELS_TRANSPOSED_SUMS_INL_H
#else
#define E2ENET_KERNELS_TRANSPOSED_SUMS_INL_H
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "kernels/isa-inl.h"
#include "kernels/transposed/plan.h"
#include "kernels/vector-inl.h"
#include "kernels/weight_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {

// Vectors that are summed at once for a number of taps: as many accumulators as the registers hold.
constexpr int vectors_for(int taps) {
  if (kRegisters >= 32) return taps == 8 ? 3 : taps == 4 ? 5 : 8;
  return taps == 8 ? 1 : taps == 4 ? 3 : taps == 2 ? 4 : 8;  // of 16 registers
}

// Lane l of `even` and `odd` become elements 2 * l and 2 * l + 1. kStream: past the caches, to an aligned place.
#if E2ENET_ONE_LANE

template <bool kStream, typename T>
HWY_INLINE void store_interleaved(Floats d, FloatVector even, FloatVector odd, T* to) {
  store_elements(d, even, to);
  store_elements(d, odd, to + 1);
}

#else

template <bool kStream>
HWY_INLINE void store_interleaved(Floats d, FloatVector even, FloatVector odd, float* to) {
  if constexpr (kStream) {
    HWY_ALIGN float pair[2 * HWY_MAX_BYTES / sizeof(float)];
    hn::StoreInterleaved2(even, odd, d, pair);
    hn::Stream(hn::Load(d, pair), d, to);
    hn::Stream(hn::Load(d, pair + hn::Lanes(d)), d, to + hn::Lanes(d));
  } else {
    hn::StoreInterleaved2(even, odd, d, to);
  }
}

// Two bf16 side by side are one 32-bit word.
template <bool kStream>
HWY_INLINE void store_interleaved(Floats, FloatVector even, FloatVector odd, std::uint16_t* to) {
  const hn::RebindToUnsigned<Floats> du;
  const hn::Repartition<std::uint16_t, hn::RebindToUnsigned<Floats> > du16;
  const auto low = hn::ShiftRight<16>(rounded_bits(even));
  const auto high = hn::And(rounded_bits(odd), hn::Set(du, 0xFFFF0000u));
  const auto words = hn::BitCast(du16, hn::Or(low, high));
  if constexpr (kStream) {
    hn::Stream(words, du16, to);
  } else {
    hn::StoreU(words, du16, to);
  }
}

#endif

// Sums kStep * kPlane taps of kVectors vectors of an output. Tap t of kernel k is at weights[k * taps + t]; the taps of
// depth a are t = a * kPlanes + p, of which the kPlane from `first_tap` on are summed. Vector v of plane tap p goes to
// to[p] + offsets[v], interleaved along depth if kStep is 2; if kStream, past the caches.
template <int kStep, int kPlane, int kPlanes, int kVectors, bool kStream, typename T>
HWY_NOINLINE void sum_taps(const SparseRow& row, int first_tap, const float* stage, std::ptrdiff_t pitch, T* const* to,
                           const std::ptrdiff_t* offsets) {
  const Floats d;
  const std::ptrdiff_t lanes = static_cast<std::ptrdiff_t>(hn::Lanes(d));
  FloatVector sums[kStep][kPlane][kVectors];
  E2ENET_UNROLL(8)
  for (int a = 0; a < kStep; ++a) {
    E2ENET_UNROLL(8)
    for (int p = 0; p < kPlane; ++p) {
      E2ENET_UNROLL(8)
      for (int v = 0; v < kVectors; ++v) sums[a][p][v] = hn::Zero(d);
    }
  }
  const std::int32_t count = row.count;
  const float* weights = row.weights + first_tap;
  for (std::int32_t k = 0; k < count; ++k, weights += row.taps) {
    const float* x = stage + row.input[k] * pitch;
    FloatVector inputs[kVectors];
    E2ENET_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) inputs[v] = hn::LoadU(d, x + v * lanes);
    E2ENET_UNROLL(8)
    for (int a = 0; a < kStep; ++a) {
      E2ENET_UNROLL(8)
      for (int p = 0; p < kPlane; ++p) {
        const FloatVector weight = hn::Set(d, weights[a * kPlanes + p]);
        E2ENET_UNROLL(8)
        for (int v = 0; v < kVectors; ++v) sums[a][p][v] = hn::MulAdd(inputs[v], weight, sums[a][p][v]);
      }
    }
  }
  E2ENET_UNROLL(8)
  for (int p = 0; p < kPlane; ++p) {
    E2ENET_UNROLL(8)
    for (int v = 0; v < kVectors; ++v) {
      if (kStep == 2) {
        store_interleaved<kStream>(d, sums[0][p][v], sums[kStep - 1][p][v], to[p] + offsets[v]);
      } else {
        store_elements(d, sums[0][p][v], to[p] + offsets[v]);
      }
    }
  }
}

// All vectors of a segment, in groups as even as can be.
template <int kStep, int kPlane, bool kStream = false, int kPlanes = kPlane, typename T>
HWY_INLINE void sum_segment(const SparseRow& row, int first_tap, const float* stage, std::ptrdiff_t pitch, T* const* to,
                            const std::ptrdiff_t* offsets, int count) {
  constexpr int kMost = vectors_for(kStep * kPlane);
  const Floats d;
  const std::ptrdiff_t lanes = static_cast<std::ptrdiff_t>(hn::Lanes(d));
  while (count > 0) {
    // A last group of one vector would wait for its sums' latency: two groups of two take its place.
    const int some = count <= kMost ? count : (count == kMost + 1 && kMost > 2 ? kMost - 1 : kMost);
    with_constant<kMost>(some, [&](auto group) HWY_ATTR {
      sum_taps<kStep, kPlane, kPlanes, group, kStream>(row, first_tap, stage, pitch, to, offsets);
    });
    stage += some * lanes;
    offsets += some;
    count -= some;
  }
}

// All eight taps of stride 2x2x2. Sixteen registers hold the sums of four taps of three vectors, which need fewer loads
// a multiply-add than eight taps of one.
template <bool kStream, typename T>
HWY_INLINE void sum_eight_taps(const SparseRow& row, const float* stage, std::ptrdiff_t pitch, T* const* to,
                               const std::ptrdiff_t* offsets, int count) {
  if constexpr (kRegisters >= 32) {
    sum_segment<2, 4, kStream>(row, 0, stage, pitch, to, offsets, count);
  } else {
    for (int p = 0; p < 4; p += 2) {
      sum_segment<2, 2, kStream, 4>(row, p, stage, pitch, to + p, offsets, count);
    }
  }
}

// Any number of taps, `interleaved` or tap by tap.
template <typename T>
HWY_INLINE void sum_output(const transposed::Plan& plan, const SparseRow& row, const float* stage, T* const* to,
                           const std::ptrdiff_t* offsets, int count, bool stream) {
  const int planes = plan.interleaved ? plan.taps() / plan.shape.stride.depth : plan.taps();
  if (plan.interleaved && plan.shape.stride.depth == 2) {
    switch (planes) {
      case 1:
        return sum_segment<2, 1>(row, 0, stage, plan.pitch, to, offsets, count);
      case 2:
        return sum_segment<2, 2>(row, 0, stage, plan.pitch, to, offsets, count);
      default:
        if (stream) return sum_eight_taps<true>(row, stage, plan.pitch, to, offsets, count);
        return sum_eight_taps<false>(row, stage, plan.pitch, to, offsets, count);
    }
  }
  int tap = 0;
  for (; tap + 8 <= planes; tap += 8) sum_segment<1, 8>(row, tap, stage, plan.pitch, to + tap, offsets, count);
  for (; tap + 4 <= planes; tap += 4) sum_segment<1, 4>(row, tap, stage, plan.pitch, to + tap, offsets, count);
  for (; tap < planes; ++tap) sum_segment<1, 1>(row, tap, stage, plan.pitch, to + tap, offsets, count);
}

}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
