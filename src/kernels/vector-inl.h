// Loads and stores of elements as float vectors, for each instruction set that Highway compiles this for.
#if defined(E2ENET_KERNELS_VECTOR_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef E2ENET_KERNELS_VECTOR_INL_H
#undef E2ENET_KERNELS_VECTOR_INL_H
#else
#define E2ENET_KERNELS_VECTOR_INL_H
#endif

#include <hwy/highway.h>

// Before a loop over an array of vectors: only where every index is a constant do they stay in registers.
#ifndef E2ENET_UNROLL
#if HWY_COMPILER_CLANG
#define E2ENET_UNROLL(count) _Pragma("unroll")
#else
#define E2ENET_PRAGMA(text) _Pragma(#text)
#define E2ENET_UNROLL(count) E2ENET_PRAGMA(GCC unroll count)
#endif
#endif

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/feature.h"
#include "kernels/isa-inl.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using FloatVector = hn::Vec<Floats>;

// Calls `body` with `count` as a constant, which an array of so many vectors needs. Counts outside [kCount, kMost]: no
// call.
template <int kMost, int kCount = 1, typename Body>
HWY_INLINE void with_constant(int count, const Body& body) {
  if constexpr (kCount <= kMost) {
    if (count == kCount) return body(std::integral_constant<int, kCount>());
    with_constant<kMost, kCount + 1>(count, body);
  }
}

// An element in memory is a float, or a std::uint16_t that holds a bfloat16.
HWY_INLINE FloatVector load_elements(Floats d, const float* from) { return hn::LoadU(d, from); }

HWY_INLINE FloatVector widened_from_bf16(hn::Vec<hn::Rebind<std::uint16_t, Floats> > halves) {
  const hn::RebindToUnsigned<Floats> du32;
  return hn::BitCast(Floats(), hn::ShiftLeft<16>(hn::PromoteTo(du32, halves)));
}

HWY_INLINE FloatVector load_elements(Floats, const std::uint16_t* from) {
  const hn::Rebind<std::uint16_t, Floats> du16;
  return widened_from_bf16(hn::LoadU(du16, from));
}

HWY_INLINE void store_elements(Floats d, FloatVector value, float* to) { hn::StoreU(value, d, to); }

// The upper half of each result is the value rounded to bf16, to nearest even. A NaN stays one only if it is quiet with
// a zero lower half, as arithmetic makes them.
HWY_INLINE hn::Vec<hn::RebindToUnsigned<Floats> > rounded_bits(FloatVector value) {
  const hn::RebindToUnsigned<Floats> du32;
  const auto bits = hn::BitCast(du32, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du32, 1));
  return hn::Add(bits, hn::Add(odd, hn::Set(du32, 0x7FFF)));
}

HWY_INLINE hn::Vec<hn::Rebind<std::uint16_t, Floats> > rounded_to_bf16(FloatVector value) {
  const hn::RebindToSigned<Floats> di32;
  const hn::Rebind<std::uint16_t, Floats> du16;
  return hn::DemoteTo(du16, hn::BitCast(di32, hn::ShiftRight<16>(rounded_bits(value))));
}

HWY_INLINE void store_elements(Floats, FloatVector value, std::uint16_t* to) {
  const hn::Rebind<std::uint16_t, Floats> du16;
  hn::StoreU(rounded_to_bf16(value), du16, to);
}

// Lanes [first, last) from memory, lane i from from[i], and 0 elsewhere; nothing else is read. AVX2 can do that for
// floats.
#if E2ENET_FLOAT_MASKS

HWY_INLINE FloatVector load_between(Floats d, const float* from, std::size_t first, std::size_t last) {
  return hn::MaskedLoad(hn::AndNot(hn::FirstN(d, first), hn::FirstN(d, last)), d, from);
}

#endif

// load_some() and store_some(): the first `count` (below a vector's lanes) elements; the other lanes are 0. They read
// and write nothing beyond: without masks the elements go through a buffer.
#if E2ENET_MASKS

HWY_INLINE FloatVector load_between(Floats, const std::uint16_t* from, std::size_t first, std::size_t last) {
  const hn::Rebind<std::uint16_t, Floats> du16;
  const auto lanes = hn::AndNot(hn::FirstN(du16, first), hn::FirstN(du16, last));
  return widened_from_bf16(hn::MaskedLoad(lanes, du16, from));
}

template <typename T>
HWY_INLINE FloatVector load_some(Floats d, const T* from, std::size_t count) {
  return load_between(d, from, 0, count);
}

// Lanes [first, last) of `value`, lane i to to[i]; nothing else is written.
HWY_INLINE void store_between(Floats d, FloatVector value, float* to, std::size_t first, std::size_t last) {
  hn::BlendedStore(value, hn::AndNot(hn::FirstN(d, first), hn::FirstN(d, last)), d, to);
}

HWY_INLINE void store_between(Floats, FloatVector value, std::uint16_t* to, std::size_t first, std::size_t last) {
  const hn::Rebind<std::uint16_t, Floats> du16;
  const auto lanes = hn::AndNot(hn::FirstN(du16, first), hn::FirstN(du16, last));
  hn::BlendedStore(rounded_to_bf16(value), lanes, du16, to);
}

template <typename T>
HWY_INLINE void store_some(Floats d, FloatVector value, T* to, std::size_t count) {
  store_between(d, value, to, 0, count);
}

#else

template <typename T>
HWY_INLINE FloatVector load_some(Floats d, const T* from, std::size_t count) {
  HWY_ALIGN T padded[HWY_MAX_BYTES / sizeof(float)] = {};
  for (std::size_t i = 0; i < count; ++i) padded[i] = from[i];
  return load_elements(d, padded);
}

template <typename T>
HWY_INLINE void store_some(Floats d, FloatVector value, T* to, std::size_t count) {
  HWY_ALIGN T padded[HWY_MAX_BYTES / sizeof(float)] = {};
  store_elements(d, value, padded);
  for (std::size_t i = 0; i < count; ++i) to[i] = padded[i];
}

#endif

// The instance norm and LeakyReLU of one channel, broadcast. A slope of 1 with scale 1 and offset 0 changes nothing.
struct ActivationVectors {
  FloatVector scale;
  FloatVector offset;
  FloatVector slope;

  // LeakyReLU as max(x, slope * x), for slopes up to 1.
  HWY_INLINE FloatVector operator()(FloatVector value) const {
    const FloatVector normalised = hn::MulAdd(value, scale, offset);
    return hn::Max(normalised, hn::Mul(normalised, slope));
  }
};

HWY_INLINE ActivationVectors activation_of(Floats d, const Activation& activation, int channel) {
  if (activation.scale == nullptr) return {hn::Set(d, 1.0f), hn::Zero(d), hn::Set(d, 1.0f)};
  return {hn::Set(d, activation.scale[channel]), hn::Set(d, activation.offset[channel]),
          hn::Set(d, activation.negative_slope)};
}

template <typename T>
HWY_INLINE void activate_elements(const T* from, const ActivationVectors& activate, std::ptrdiff_t count, float* to) {
  const Floats d;
  const std::ptrdiff_t lanes = static_cast<std::ptrdiff_t>(hn::Lanes(d));
  std::ptrdiff_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(activate(load_elements(d, from + i)), d, to + i);
  if (i < count) {
    const std::size_t rest = static_cast<std::size_t>(count - i);
    store_some(d, activate(load_some(d, from + i, rest)), to + i, rest);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
