// Staging of the direct convolution: see direct_plan.h for the layout. After it, arithmetic knows no edges, no shift,
// no strides and no sources.
#if defined(E2ENET_KERNELS_DIRECT_STAGING_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef E2ENET_KERNELS_DIRECT_STAGING_INL_H
#undef E2ENET_KERNELS_DIRECT_STAGING_INL_H
#else
#define E2ENET_KERNELS_DIRECT_STAGING_INL_H
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/direct/plan.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {

// A vector of the elements at, at + 1, ...; 0 for those outside [low, high), which are not read.
template <typename T>
HWY_INLINE FloatVector load_between(const T* row, std::ptrdiff_t at, std::ptrdiff_t low, std::ptrdiff_t high) {
  const Floats d;
  const std::ptrdiff_t lanes = static_cast<std::ptrdiff_t>(hn::Lanes(d));
  HWY_ALIGN T elements[HWY_MAX_BYTES / sizeof(float)] = {};
  const std::ptrdiff_t end = std::min(lanes, high - at);
  for (std::ptrdiff_t i = std::max<std::ptrdiff_t>(0, low - at); i < end; ++i) elements[i] = row[at + i];
  return load_elements(d, elements);
}

// What is the same for all pixels of a channel.
struct ChannelStaging {
  ActivationVectors activate;
  int shift;
  int low, high;  // output depths that have an input, d * step - shift in [0, depth)
};

HWY_INLINE ChannelStaging channel_staging(const direct::Plan& plan, const Activation& activation, int channel_of_source,
                                          int channel) {
  const int step = plan.shape.stride.depth;
  const int count = plan.output.depth;
  const int shift = depth_shift(channel, plan.kernels.inputs, plan.shape.groups);
  const int low = shift > 0 ? std::min(count, (shift + step - 1) / step) : 0;
  const int high = std::clamp((plan.shape.input.depth + shift + step - 1) / step, low, count);
  return {activation_of(Floats(), activation, channel_of_source), shift, low, high};
}

// One pixel: output depths [0, count) from elements base + d * kStep - shift of the row, where base = pixel * depth.
// May write up to a vector's lanes beyond `count`, so pixels are staged in the order of their addresses. `next`: the
// same row of the channel that is staged next, fetched meanwhile, since each channel is too short for the processor to
// foresee.
template <int kStep, typename T>
HWY_INLINE void stage_pixel(const T* row, const T* next, std::ptrdiff_t row_elements, std::ptrdiff_t base, int count,
                            const ChannelStaging& channel, float* to) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const hn::RebindToSigned<Floats> di;
  for (int begin = 0; begin < count; begin += lanes) {
    const std::ptrdiff_t at = base + std::ptrdiff_t{begin} * kStep - channel.shift;
    const bool two = kStep * std::min(lanes, count - begin) > lanes;
    for (int ahead = 0; ahead < kStep * lanes; ahead += 64 / static_cast<int>(sizeof(T)))
      hwy::Prefetch(next + at + ahead);
    FloatVector value, upper;
    if (HWY_LIKELY(at >= 0 && at + (two ? 2 * lanes : lanes) <= row_elements)) {
      value = load_elements(d, row + at);
      upper = two ? load_elements(d, row + at + lanes) : value;
    } else {
      value = load_between(row, at, 0, row_elements);
      upper = two ? load_between(row, at + lanes, 0, row_elements) : value;
    }
#if !E2ENET_ONE_LANE
    if (kStep == 2) value = hn::ConcatEven(d, upper, value);
#endif
    value = channel.activate(value);
    if (HWY_UNLIKELY(begin < channel.low || begin + lanes > channel.high)) {
      const auto index = hn::Add(hn::Iota(di, 0), hn::Set(di, begin));
      const auto inside =
          hn::And(hn::Gt(index, hn::Set(di, channel.low - 1)), hn::Lt(index, hn::Set(di, channel.high)));
      value = hn::IfThenElseZero(hn::RebindMask(d, inside), value);
    }
    hn::StoreU(value, d, to + begin);
  }
}

// The same one by one, for depth strides above 2.
template <typename T>
HWY_NOINLINE void stage_pixel_one_by_one(const T* row, std::ptrdiff_t base, int step, int count,
                                         const ChannelStaging& channel, float* to) {
  const Floats d;
  for (int i = 0; i < count; ++i) {
    const bool inside = i >= channel.low && i < channel.high;
    const std::ptrdiff_t at = base + std::ptrdiff_t{i} * step - channel.shift;
    to[i] = inside ? hn::GetLane(channel.activate(load_some(d, row + at, 1))) : 0.0f;
  }
}

HWY_INLINE void stage_zeros(std::ptrdiff_t count, float* to) {
  const Floats d;
  const std::ptrdiff_t lanes = static_cast<std::ptrdiff_t>(hn::Lanes(d));
  for (std::ptrdiff_t i = 0; i < count; i += lanes) hn::StoreU(hn::Zero(d), d, to + i);
}

// Input row `row` (nullptr: outside the patch) for output pixels [first_pixel, first_pixel + pixels).
template <typename T>
HWY_INLINE void stage_row(const direct::Plan& plan, const T* row, const T* next, int first_pixel, int pixels,
                          const ChannelStaging& channel, float* slot) {
  const Extent& extent = plan.shape.input;
  const int step = plan.shape.stride.depth;
  const int stride = plan.shape.stride.width;
  const int count = plan.output.depth;
  const std::ptrdiff_t row_elements = std::ptrdiff_t{extent.width} * extent.depth;
  for (int phase = 0; phase < plan.phases; ++phase) {
    float* to = slot + std::ptrdiff_t{plan.phase_begin[static_cast<std::size_t>(phase)]} * count;
    // A segment at the right border may have fewer pixels than the layout has room for.
    const int phase_pixels = plan.phase_pixels[static_cast<std::size_t>(phase)] - (plan.pixels - pixels);
    if (row == nullptr) {
      stage_zeros(std::ptrdiff_t{phase_pixels} * count, to);
      continue;
    }
    for (int i = 0; i < phase_pixels; ++i, to += count) {
      const int pixel = (first_pixel + i) * stride + phase - 1;
      if (pixel < 0 || pixel >= extent.width) {
        stage_zeros(count, to);
        continue;
      }
      const std::ptrdiff_t base = std::ptrdiff_t{pixel} * extent.depth;
      if (step == 1) {
        stage_pixel<1>(row, next, row_elements, base, count, channel, to);
      } else if (step == 2 && !E2ENET_ONE_LANE) {
        stage_pixel<2>(row, next, row_elements, base, count, channel, to);
      } else {
        stage_pixel_one_by_one(row, base, step, count, channel, to);
      }
    }
  }
}

template <typename T>
HWY_INLINE void stage_source(const direct::Plan& plan, const Source& source, int first_channel, int band, int rows,
                             int first_pixel, int pixels, float* stage) {
  const int stride = plan.shape.stride.height;
  const int slots = (rows - 1) * plan.slots_per_row + 3;
  for (int c = 0; c < source.feature.channels; ++c) {
    const int next_channel = std::min(c + 1, source.feature.channels - 1);
    const ChannelStaging channel = channel_staging(plan, source.activation, c, first_channel + c);
    float* slot = stage + (first_channel + c) * plan.channel_pitch;
    for (int i = 0; i < slots; ++i, slot += plan.slot_pitch) {
      // Slot i holds tap i - r * slots_per_row of output row r, for any r that makes this a tap.
      const int r = std::min(i / plan.slots_per_row, rows - 1);
      const int row = (band * plan.rows + r) * stride + (i - r * plan.slots_per_row) - 1;
      const bool inside = row >= 0 && row < plan.shape.input.height;
      stage_row(plan, inside ? static_cast<const T*>(source.feature.row(c, row)) : nullptr,
                inside ? static_cast<const T*>(source.feature.row(next_channel, row)) : nullptr, first_pixel, pixels,
                channel, slot);
    }
  }
}

// All input channels of one item's segment of pixels.
HWY_INLINE void stage_item(const direct::Plan& plan, const Source* sources, int band, int rows, int first_pixel,
                           int pixels, float* stage) {
  int first_channel = 0;
  for (std::size_t s = 0; s < plan.shape.source_channels.size(); ++s) {
    if (sources[s].feature.element == Element::f32) {
      stage_source<float>(plan, sources[s], first_channel, band, rows, first_pixel, pixels, stage);
    } else {
      stage_source<std::uint16_t>(plan, sources[s], first_channel, band, rows, first_pixel, pixels, stage);
    }
    first_channel += plan.shape.source_channels[s];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
