// Staging of the direct convolution: see direct_plan.h for the layout. After it, arithmetic knows no edges, no shift,
// no strides and no sources.
#if defined(E2ENET_KERNELS_DIRECT_STAGING_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef E2ENET_KERNELS_DIRECT_STAGING_INL_H
#undef E2ENET_KERNELS_DIRECT_STAGING_INL_H
#else
#define E2ENET_KERNELS_DIRECT_STAGING_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>

#include "kernels/direct_plan.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {

// Activates elements first + i * step, i < count, of a row into `to`; 0 where the index leaves [low, high). One by one,
// for what vectors cannot do: the first and last pixels of a row, and depth strides above 2.
template <typename T>
HWY_NOINLINE void stage_one_by_one(const T* row, std::ptrdiff_t first, int step, int count, std::ptrdiff_t low,
                                   std::ptrdiff_t high, const ActivationVectors& activate, float* to) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  HWY_ALIGN T elements[HWY_MAX_BYTES / sizeof(float)] = {};
  HWY_ALIGN float values[HWY_MAX_BYTES / sizeof(float)];
  for (int begin = 0; begin < count; begin += lanes) {
    const int some = std::min(lanes, count - begin);
    for (int i = 0; i < some; ++i) {
      const std::ptrdiff_t at = first + std::ptrdiff_t{begin + i} * step;
      elements[i] = at >= low && at < high ? row[at] : T{0};
    }
    hn::Store(activate(load_elements(d, elements)), d, values);
    for (int i = 0; i < some; ++i) {
      const std::ptrdiff_t at = first + std::ptrdiff_t{begin + i} * step;
      to[begin + i] = at >= low && at < high ? values[i] : 0.0f;
    }
  }
}

// One pixel: output depths [0, count) from elements base + d * step - shift of the row, where base = pixel * depth. May
// write up to a vector's lanes beyond `count`, so pixels are staged in the order of their addresses. kStep: the depth
// stride, 1 or 2.
template <int kStep, typename T>
HWY_INLINE void stage_pixel(const T* row, std::ptrdiff_t row_elements, std::ptrdiff_t base, int depth, int shift,
                            int count, const ActivationVectors& activate, float* to) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const hn::RebindToSigned<Floats> di;
  // Output depths that have an input: d * step - shift in [0, depth). Both bounds lie in [0, count].
  const int low = shift > 0 ? std::min(count, (shift + kStep - 1) / kStep) : 0;
  const int high = std::clamp((depth + shift + kStep - 1) / kStep, low, count);
  for (int begin = 0; begin < count; begin += lanes) {
    const std::ptrdiff_t at = base + std::ptrdiff_t{begin} * kStep - shift;
    const int used = kStep * std::min(lanes, count - begin);
    const std::ptrdiff_t reach = at + (used > lanes ? 2 * lanes : lanes);
    if (HWY_UNLIKELY(at < 0 || reach > row_elements)) {
      stage_one_by_one(row, at, kStep, std::min(lanes, count - begin), base, base + depth, activate, to + begin);
      continue;
    }
    FloatVector value = load_elements(d, row + at);
#if HWY_TARGET != HWY_SCALAR
    if (kStep == 2) {
      const FloatVector upper = used > lanes ? load_elements(d, row + at + lanes) : value;
      value = hn::ConcatEven(d, upper, value);
    }
#endif
    value = activate(value);
    if (HWY_UNLIKELY(begin < low || begin + lanes > high)) {
      const auto index = hn::Add(hn::Iota(di, 0), hn::Set(di, begin));
      const auto inside = hn::And(hn::Gt(index, hn::Set(di, low - 1)), hn::Lt(index, hn::Set(di, high)));
      value = hn::IfThenElseZero(hn::RebindMask(d, inside), value);
    }
    hn::StoreU(value, d, to + begin);
  }
}

HWY_INLINE void stage_zeros(std::ptrdiff_t count, float* to) {
  const Floats d;
  const std::ptrdiff_t lanes = static_cast<std::ptrdiff_t>(hn::Lanes(d));
  for (std::ptrdiff_t i = 0; i < count; i += lanes) hn::StoreU(hn::Zero(d), d, to + i);
}

// Input row `row` (nullptr: outside the patch) for output pixels [first_pixel, first_pixel + pixels).
template <typename T>
HWY_INLINE void stage_row(const DirectPlan& plan, const T* row, int shift, int first_pixel, int pixels,
                          const ActivationVectors& activate, float* slot) {
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
        stage_pixel<1>(row, row_elements, base, extent.depth, shift, count, activate, to);
      } else if (step == 2 && HWY_TARGET != HWY_SCALAR) {
        stage_pixel<2>(row, row_elements, base, extent.depth, shift, count, activate, to);
      } else {
        stage_one_by_one(row, base - shift, step, count, base, base + extent.depth, activate, to);
      }
    }
  }
}

template <typename T>
HWY_INLINE void stage_source(const DirectPlan& plan, const Source& source, int first_channel, int band, int rows,
                             int first_pixel, int pixels, float* stage) {
  const Floats d;
  const int stride = plan.shape.stride.height;
  for (int c = 0; c < source.feature.channels; ++c) {
    const int channel = first_channel + c;
    const int shift = depth_shift(channel, plan.kernels.inputs, plan.shape.groups);
    const ActivationVectors activate = activation_of(d, source.activation, c);
    float* slot = stage + channel * plan.channel_pitch;
    const int slots = (rows - 1) * plan.slots_per_row + 3;
    for (int i = 0; i < slots; ++i, slot += plan.slot_pitch) {
      // Slot i holds tap i - r * slots_per_row of output row r, for any r that makes this a tap.
      const int r = std::min(i / plan.slots_per_row, rows - 1);
      const int row = (band * plan.rows + r) * stride + (i - r * plan.slots_per_row) - 1;
      const bool inside = row >= 0 && row < plan.shape.input.height;
      stage_row(plan, inside ? static_cast<const T*>(source.feature.row(c, row)) : nullptr, shift, first_pixel, pixels,
                activate, slot);
    }
  }
}

// All input channels of one item's segment of pixels.
HWY_INLINE void stage_item(const DirectPlan& plan, const Source* sources, int band, int rows, int first_pixel,
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
