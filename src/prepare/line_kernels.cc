#include "prepare/line_kernels.h"

#include <algorithm>
#include <cstddef>
#include <limits>

#include "base/simd/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "prepare/line_kernels.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once for each target.
#include <hwy/highway.h>

#include "base/simd/dispatch_table.h"
#if !HWY_HAVE_FLOAT64
#include "base/platform/double_pair.h"
#endif

HWY_BEFORE_NAMESPACE();
namespace e2enet::imaging {
namespace HWY_NAMESPACE {

#if HWY_HAVE_FLOAT64
namespace hn = hwy::HWY_NAMESPACE;

using Doubles = hn::ScalableTag<double>;
using DoubleVector = hn::Vec<Doubles>;
// As many floats as there are doubles in a vector.
using Floats = hn::Rebind<float, Doubles>;
#else
namespace hn = platform::double_pair;

using hn::Doubles;
using hn::DoubleVector;
using hn::Floats;
#endif

// A product and then a sum, each rounded: a fused one would round once, and only where the processor has it.
HWY_INLINE DoubleVector add_product(DoubleVector sum, DoubleVector value, double weight) {
  return hn::Add(sum, hn::Mul(value, hn::Set(Doubles(), weight)));
}

void FilterInterleaved(const double* in, const AxisOperator& op, double* out) {
  const Doubles d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t taps = op.taps, outputs = op.output_size;
  const double* weights = op.weights.data();
  for (std::int64_t j = 0; j < outputs; ++j, weights += taps) {
    const double* from = in + op.first[static_cast<std::size_t>(j)] * kRowsTogether;
    double* to = out + j * kRowsTogether;
    for (std::int64_t row = 0; row < kRowsTogether; row += 2 * lanes) {
      // Even and odd taps apart: four independent chains hide the latency of an addition.
      DoubleVector even0 = hn::Zero(d), even1 = even0, odd0 = even0, odd1 = even0;
      const double* at = from + row;
      std::int64_t t = 0;
      for (; t + 2 <= taps; t += 2, at += 2 * kRowsTogether) {
        even0 = add_product(even0, hn::LoadU(d, at), weights[t]);
        even1 = add_product(even1, hn::LoadU(d, at + lanes), weights[t]);
        odd0 = add_product(odd0, hn::LoadU(d, at + kRowsTogether), weights[t + 1]);
        odd1 = add_product(odd1, hn::LoadU(d, at + kRowsTogether + lanes), weights[t + 1]);
      }
      if (t < taps) {
        even0 = add_product(even0, hn::LoadU(d, at), weights[t]);
        even1 = add_product(even1, hn::LoadU(d, at + lanes), weights[t]);
      }
      hn::StoreU(hn::Add(even0, odd0), d, to + row);
      hn::StoreU(hn::Add(even1, odd1), d, to + row + lanes);
    }
  }
}

// Calls finish(i, sum) for each vector of the sums from i on: four at a time, whose chains hide each other's latency.
template <typename Finish>
HWY_INLINE void sum_rows(const double* const* rows, const double* weights, std::int64_t taps, std::int64_t count,
                         const Finish& finish) {
  const Doubles d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    DoubleVector sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    for (std::int64_t t = 0; t < taps; ++t) {
      const double* at = rows[t] + i;
      sum0 = add_product(sum0, hn::LoadU(d, at), weights[t]);
      sum1 = add_product(sum1, hn::LoadU(d, at + lanes), weights[t]);
      sum2 = add_product(sum2, hn::LoadU(d, at + 2 * lanes), weights[t]);
      sum3 = add_product(sum3, hn::LoadU(d, at + 3 * lanes), weights[t]);
    }
    finish(i, sum0);
    finish(i + lanes, sum1);
    finish(i + 2 * lanes, sum2);
    finish(i + 3 * lanes, sum3);
  }
  for (; i < count; i += lanes) {
    DoubleVector sum = hn::Zero(d);
    for (std::int64_t t = 0; t < taps; ++t) sum = add_product(sum, hn::LoadU(d, rows[t] + i), weights[t]);
    finish(i, sum);
  }
}

void FilterRows(const double* const* rows, const double* weights, std::int64_t taps, std::int64_t count, double* out) {
  sum_rows(rows, weights, taps, count,
           [&](std::int64_t i, DoubleVector sum) HWY_ATTR { hn::StoreU(sum, Doubles(), out + i); });
}

void FilterRowsToFloat(const double* const* rows, const double* weights, std::int64_t taps, std::int64_t count,
                       double low, double high, float* out) {
  const Doubles d;
  const DoubleVector lowest = hn::Set(d, low), highest = hn::Set(d, high);
  sum_rows(rows, weights, taps, count, [&](std::int64_t i, DoubleVector sum) HWY_ATTR {
    const DoubleVector above = hn::IfThenElse(hn::Lt(sum, lowest), lowest, sum);
    const DoubleVector between = hn::IfThenElse(hn::Gt(above, highest), highest, above);
    hn::StoreU(hn::DemoteTo(Floats(), between), Floats(), out + i);
  });
}

void BlendRows(const float* row00, const float* row01, const float* row10, const float* row11, double z0, double z1,
               double y0, double y1, std::int64_t count, double* blend) {
  const Doubles d;
  const Floats df;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  const auto load = [&](const float* from) HWY_ATTR { return hn::PromoteTo(d, hn::LoadU(df, from + i)); };
  for (; i + lanes <= count; i += lanes) {
    const DoubleVector line0 = add_product(hn::Mul(load(row00), hn::Set(d, z0)), load(row10), z1);
    const DoubleVector line1 = add_product(hn::Mul(load(row01), hn::Set(d, z0)), load(row11), z1);
    hn::StoreU(add_product(hn::Mul(line0, hn::Set(d, y0)), line1, y1), d, blend + i);
  }
  for (; i < count; ++i) {
    const double line0 = static_cast<double>(row00[i]) * z0 + static_cast<double>(row10[i]) * z1;
    const double line1 = static_cast<double>(row01[i]) * z0 + static_cast<double>(row11[i]) * z1;
    blend[i] = line0 * y0 + line1 * y1;
  }
}

// The loops below without vectors of Highway's are as fast, or faster, as the compiler makes them for the instruction
// set at hand.

RowSummary SummariseRow(const float* row, std::int64_t count) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr int kWidth = 16;
  RowSummary summary;
  while (summary.first < count && row[summary.first] == 0) ++summary.first;
  if (summary.first == count) {
    summary.first = 0;
    return summary;
  }
  summary.end = count;
  while (row[summary.end - 1] == 0) --summary.end;
  // Zeros and NaNs count as +infinity for the lowest and -infinity for the highest.
  float low[kWidth], high[kWidth];
  std::int32_t values[kWidth];
  for (int l = 0; l < kWidth; ++l) {
    low[l] = kInfinity;
    high[l] = -kInfinity;
    values[l] = 0;
  }
  std::int64_t i = summary.first;
  for (; i + kWidth <= summary.end; i += kWidth) {
    for (int l = 0; l < kWidth; ++l) {
      const float v = row[i + l];
      const bool counts = v < 0 || v > 0;
      const float for_low = counts ? v : kInfinity;
      const float for_high = counts ? v : -kInfinity;
      low[l] = for_low < low[l] ? for_low : low[l];
      high[l] = for_high > high[l] ? for_high : high[l];
      values[l] += counts;
    }
  }
  for (; i < summary.end; ++i) {
    const float v = row[i];
    if (!(v < 0 || v > 0)) continue;
    low[0] = std::min(low[0], v);
    high[0] = std::max(high[0], v);
    ++values[0];
  }
  summary.low = *std::min_element(low, low + kWidth);
  summary.high = *std::max_element(high, high + kWidth);
  for (int l = 0; l < kWidth; ++l) summary.values += values[l];
  return summary;
}

void SummariseColumns(const float* row, std::int64_t count, float* low, float* high, std::int64_t* values) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float v = row[i];
    const bool counts = v < 0 || v > 0;
    low[i] = counts && v < low[i] ? v : low[i];
    high[i] = counts && v > high[i] ? v : high[i];
    values[i] += counts;
  }
}

// Without a gather, which waits for its loads one by one.
void GatherLinear(const double* line, const std::int32_t* first, const double* w0, const double* w1, std::int64_t count,
                  float* value) {
  for (std::int64_t x = 0; x < count; ++x) {
    value[x] = static_cast<float>(line[first[x]] * w0[x] + line[first[x] + 1] * w1[x]);
  }
}

void KeepLarger(const float* candidate, std::uint16_t label, std::int64_t count, float* best, std::uint16_t* labels) {
  for (std::int64_t x = 0; x < count; ++x) {
    const bool larger = candidate[x] > best[x];
    best[x] = larger ? candidate[x] : best[x];
    labels[x] = larger ? label : labels[x];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace e2enet::imaging
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace e2enet::imaging {

HWY_EXPORT(FilterInterleaved);
HWY_EXPORT(FilterRows);
HWY_EXPORT(FilterRowsToFloat);
HWY_EXPORT(SummariseRow);
HWY_EXPORT(SummariseColumns);
HWY_EXPORT(BlendRows);
HWY_EXPORT(GatherLinear);
HWY_EXPORT(KeepLarger);

void filter_interleaved(const double* in, const AxisOperator& op, double* out) {
  simd::prepare_dispatch();
  E2ENET_DISPATCH(FilterInterleaved)(in, op, out);
}

void filter_rows(const double* const* rows, const double* weights, std::int64_t taps, std::int64_t count, double* out) {
  simd::prepare_dispatch();
  E2ENET_DISPATCH(FilterRows)(rows, weights, taps, count, out);
}

void filter_rows_to_float(const double* const* rows, const double* weights, std::int64_t taps, std::int64_t count,
                          double low, double high, float* out) {
  simd::prepare_dispatch();
  E2ENET_DISPATCH(FilterRowsToFloat)(rows, weights, taps, count, low, high, out);
}

RowSummary summarise_row(const float* row, std::int64_t count) {
  simd::prepare_dispatch();
  return E2ENET_DISPATCH(SummariseRow)(row, count);
}

void summarise_columns(const float* row, std::int64_t count, float* low, float* high, std::int64_t* values) {
  simd::prepare_dispatch();
  E2ENET_DISPATCH(SummariseColumns)(row, count, low, high, values);
}

void blend_rows(const float* row00, const float* row01, const float* row10, const float* row11, double z0, double z1,
                double y0, double y1, std::int64_t count, double* blend) {
  simd::prepare_dispatch();
  E2ENET_DISPATCH(BlendRows)(row00, row01, row10, row11, z0, z1, y0, y1, count, blend);
}

void gather_linear(const double* line, const std::int32_t* first, const double* w0, const double* w1,
                   std::int64_t count, float* value) {
  simd::prepare_dispatch();
  E2ENET_DISPATCH(GatherLinear)(line, first, w0, w1, count, value);
}

void keep_larger(const float* candidate, std::uint16_t label, std::int64_t count, float* best, std::uint16_t* labels) {
  simd::prepare_dispatch();
  E2ENET_DISPATCH(KeepLarger)(candidate, label, count, best, labels);
}

}  // namespace e2enet::imaging
#endif  // HWY_ONCE
