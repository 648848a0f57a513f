#include "prepare/line_kernels.h"

#include <algorithm>
#include <cstring>
#include <limits>

// One compiled copy an instruction set, chosen by the loader. Sanitizers do not bear the loader's choice.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__linux__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define E2ENET_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define E2ENET_CLONES
#endif

namespace e2enet::imaging {
namespace {

// GCC and Clang split a vector that is wider than the machine's.
typedef double Lanes __attribute__((vector_size(64)));
typedef double UnalignedLanes __attribute__((vector_size(64), aligned(8), may_alias));
static_assert(sizeof(Lanes) == sizeof(double) * kLanes);

}  // namespace

E2ENET_CLONES void filter_interleaved(const double* in, const AxisOperator& op, double* out) {
  const std::int64_t taps = op.taps, outputs = op.output_size;
  const double* weights = op.weights.data();
  for (std::int64_t j = 0; j < outputs; ++j, weights += taps) {
    const UnalignedLanes* at =
        reinterpret_cast<const UnalignedLanes*>(in + op.first[static_cast<std::size_t>(j)] * kRowsTogether);
    // Even and odd taps apart: four independent chains hide the latency of an addition.
    Lanes even0{}, even1{}, odd0{}, odd1{};
    std::int64_t t = 0;
    for (; t + 2 <= taps; t += 2, at += 4) {
      even0 += at[0] * weights[t];
      even1 += at[1] * weights[t];
      odd0 += at[2] * weights[t + 1];
      odd1 += at[3] * weights[t + 1];
    }
    if (t < taps) {
      even0 += at[0] * weights[t];
      even1 += at[1] * weights[t];
    }
    UnalignedLanes* to = reinterpret_cast<UnalignedLanes*>(out + j * kRowsTogether);
    to[0] = even0 + odd0;
    to[1] = even1 + odd1;
  }
}

E2ENET_CLONES void filter_rows(const double* const* rows, const double* weights, std::int64_t taps, std::int64_t count,
                               double* out) {
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    Lanes sum0{}, sum1{}, sum2{}, sum3{};
    for (std::int64_t t = 0; t < taps; ++t) {
      const UnalignedLanes* at = reinterpret_cast<const UnalignedLanes*>(rows[t] + i);
      sum0 += at[0] * weights[t];
      sum1 += at[1] * weights[t];
      sum2 += at[2] * weights[t];
      sum3 += at[3] * weights[t];
    }
    UnalignedLanes* to = reinterpret_cast<UnalignedLanes*>(out + i);
    to[0] = sum0;
    to[1] = sum1;
    to[2] = sum2;
    to[3] = sum3;
  }
  for (; i < count; i += kLanes) {
    Lanes sum{};
    for (std::int64_t t = 0; t < taps; ++t) sum += *reinterpret_cast<const UnalignedLanes*>(rows[t] + i) * weights[t];
    *reinterpret_cast<UnalignedLanes*>(out + i) = sum;
  }
}

E2ENET_CLONES void filter_rows_to_float(const double* const* rows, const double* weights, std::int64_t taps,
                                        std::int64_t count, double low, double high, float* out) {
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
    Lanes sums[4]{};
    for (std::int64_t t = 0; t < taps; ++t) {
      const UnalignedLanes* at = reinterpret_cast<const UnalignedLanes*>(rows[t] + i);
      sums[0] += at[0] * weights[t];
      sums[1] += at[1] * weights[t];
      sums[2] += at[2] * weights[t];
      sums[3] += at[3] * weights[t];
    }
    for (int v = 0; v < 4; ++v) {
      for (std::int64_t lane = 0; lane < kLanes; ++lane) {
        const double value = sums[v][lane];
        const double above = value < low ? low : value;
        out[i + v * kLanes + lane] = static_cast<float>(above > high ? high : above);
      }
    }
  }
  for (; i < count; i += kLanes) {
    Lanes sum{};
    for (std::int64_t t = 0; t < taps; ++t) sum += *reinterpret_cast<const UnalignedLanes*>(rows[t] + i) * weights[t];
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const double value = sum[lane];
      const double above = value < low ? low : value;
      out[i + lane] = static_cast<float>(above > high ? high : above);
    }
  }
}

E2ENET_CLONES RowSummary summarise_row(const float* row, std::int64_t count) {
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

E2ENET_CLONES void summarise_columns(const float* row, std::int64_t count, float* low, float* high,
                                     std::int64_t* values) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float v = row[i];
    const bool counts = v < 0 || v > 0;
    low[i] = counts && v < low[i] ? v : low[i];
    high[i] = counts && v > high[i] ? v : high[i];
    values[i] += counts;
  }
}

E2ENET_CLONES void blend_rows(const float* row00, const float* row01, const float* row10, const float* row11, double z0,
                              double z1, double y0, double y1, std::int64_t count, double* blend) {
  for (std::int64_t i = 0; i < count; ++i) {
    const double line0 = static_cast<double>(row00[i]) * z0 + static_cast<double>(row10[i]) * z1;
    const double line1 = static_cast<double>(row01[i]) * z0 + static_cast<double>(row11[i]) * z1;
    blend[i] = line0 * y0 + line1 * y1;
  }
}

E2ENET_CLONES void gather_linear(const double* line, const std::int32_t* first, const double* w0, const double* w1,
                                 std::int64_t count, float* value) {
  for (std::int64_t x = 0; x < count; ++x) {
    value[x] = static_cast<float>(line[first[x]] * w0[x] + line[first[x] + 1] * w1[x]);
  }
}

E2ENET_CLONES void keep_larger(const float* candidate, std::uint16_t label, std::int64_t count, float* best,
                               std::uint16_t* labels) {
  for (std::int64_t x = 0; x < count; ++x) {
    const bool larger = candidate[x] > best[x];
    best[x] = larger ? candidate[x] : best[x];
    labels[x] = larger ? label : labels[x];
  }
}

}  // namespace e2enet::imaging
