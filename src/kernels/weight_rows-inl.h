// Weights that are kept as integers, as floats again, for each instruction set that Highway compiles this for.
#if defined(E2ENET_KERNELS_WEIGHT_ROWS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef E2ENET_KERNELS_WEIGHT_ROWS_INL_H
#undef E2ENET_KERNELS_WEIGHT_ROWS_INL_H
#else
#define E2ENET_KERNELS_WEIGHT_ROWS_INL_H
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "kernels/vector-inl.h"
#include "kernels/weight_rows.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {

// to[i] = from[i] * scales[i % together]. Whole vectors: both have room for WeightRows::kSpare numbers beyond the last.
HWY_INLINE const float* widened(const std::int16_t* HWY_RESTRICT from, std::size_t count, const float* scales,
                                std::size_t together, float* HWY_RESTRICT to) {
  const Floats d;
  const hn::RebindToSigned<Floats> di32;
  const hn::Rebind<std::int16_t, Floats> di16;
  const std::size_t lanes = hn::Lanes(d);
  float in_turn[WeightRows::kMostTogether + HWY_MAX_BYTES / sizeof(float)];
  for (std::size_t i = 0; i < together + lanes; ++i) in_turn[i] = scales[i % together];
  const std::size_t step = lanes % together;
  std::size_t turn = 0;  // i % together
  for (std::size_t i = 0; i < count; i += lanes) {
    const FloatVector factor = hn::LoadU(d, in_turn + turn);
    hn::StoreU(hn::Mul(hn::ConvertTo(d, hn::PromoteTo(di32, hn::LoadU(di16, from + i))), factor), d, to + i);
    turn += step;
    if (turn >= together) turn -= together;
  }
  return to;
}

// Weights `begin` to `end`, a row of `together` outputs of which `output` is the first: where they lie, or in
// `scratch`.
HWY_INLINE const float* row_weights(const WeightRows& rows, int output, int together, std::ptrdiff_t begin,
                                    std::ptrdiff_t end, float* scratch) {
  if (!rows.as_integers()) return rows.floats() + begin;
  return widened(rows.integers() + begin, static_cast<std::size_t>(end - begin), rows.scales() + output,
                 static_cast<std::size_t>(together), scratch);
}

// The kept kernels of an output.
struct SparseRow {
  const std::int32_t* input;  // channel of each
  std::int32_t count;
  const float* weights;  // `taps` of each
  int taps;
};

// `scratch`: see row_weights().
HWY_INLINE SparseRow sparse_row(const SparseWeights& kernels, int output, float* scratch) {
  const SparseKernels view = kernels.view();
  const std::int32_t begin = view.row_begin[output];
  const std::int32_t end = view.row_begin[output + 1];
  const std::ptrdiff_t taps = view.taps;
  return {view.input + begin, end - begin, row_weights(kernels.weights(), output, 1, begin * taps, end * taps, scratch),
          view.taps};
}

}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
