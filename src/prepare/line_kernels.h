// The inner loops of resampling, compiled for every instruction set (base/simd). As every sum keeps its order
// and no multiply-add is fused, the bits are the same on each.
#pragma once

#include <cstdint>

#include "prepare/axis_operator.h"

namespace e2enet::imaging {

// Rows of doubles are padded to a multiple of this.
constexpr std::int64_t kLanes = 8;
// Rows that are resampled along themselves together.
constexpr std::int64_t kRowsTogether = 16;

inline std::int64_t padded_to_lanes(std::int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

// in is (op.input_size, kRowsTogether), out is (op.output_size, kRowsTogether).
void filter_interleaved(const double* in, const AxisOperator& op, double* out);

// out[i] = sum over t of weights[t] * rows[t][i] for `count` (a multiple of kLanes) values.
void filter_rows(const double* const* rows, const double* weights, std::int64_t taps, std::int64_t count, double* out);

// The same, brought into [low, high] and rounded to float.
void filter_rows_to_float(const double* const* rows, const double* weights, std::int64_t taps, std::int64_t count,
                          double low, double high, float* out);

// What must be known of a row before its volume can be cropped and clipped.
struct RowSummary {
  std::int64_t values = 0;  // that are neither 0 nor NaN
  float low = 0, high = 0;  // of these values
  std::int64_t first = 0;   // first and one past the last element that is not 0 (NaN is not): first == end where none
  std::int64_t end = 0;
};
RowSummary summarise_row(const float* row, std::int64_t count);

// Brings `count` values into the range of a row-wise summary by column: low[i], high[i], values[i].
void summarise_columns(const float* row, std::int64_t count, float* low, float* high, std::int64_t* values);

// blend = (row00 * z0 + row10 * z1) * y0 + (row01 * z0 + row11 * z1) * y1, the rows being (plane z, line y).
void blend_rows(const float* row00, const float* row01, const float* row10, const float* row11, double z0, double z1,
                double y0, double y1, std::int64_t count, double* blend);

// value[x] = line[first[x]] * w0[x] + line[first[x] + 1] * w1[x], rounded to float; `line` has one element of padding.
void gather_linear(const double* line, const std::int32_t* first, const double* w0, const double* w1,
                   std::int64_t count, float* value);

// Where candidate[x] > best[x]: best becomes candidate and labels[x] becomes label. Ties keep the earlier label.
void keep_larger(const float* candidate, std::uint16_t label, std::int64_t count, float* best, std::uint16_t* labels);

}  // namespace e2enet::imaging
