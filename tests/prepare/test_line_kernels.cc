// The inner loops of resampling on every instruction set, against plain loops, to the bit.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/simd/dispatch.h"
#include "prepare/line_kernels.h"

using namespace e2enet;
using namespace e2enet::imaging;

namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

void on_every_instruction_set(const std::function<void()>& body) {
  const std::vector<std::string> names = simd::available_instruction_sets();
  for (const std::string& name : names) {
    CAPTURE(name);
    simd::use_instruction_set(name);
    body();
  }
  simd::use_instruction_set(names.front());
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

std::vector<double> random_doubles(std::int64_t count, unsigned seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0, 100);
  std::vector<double> values(index(count));
  for (double& value : values) value = normal(random);
  return values;
}

// Zeros of both signs, numbers that are none, infinities and denormals among ordinary ones.
std::vector<float> awkward_floats(std::int64_t count, unsigned seed) {
  const float special[] = {0.0f, -0.0f, std::nanf(""), INFINITY, -INFINITY, 1e-42f, -1e-42f};
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 100);
  std::vector<float> values(index(count));
  for (float& value : values) value = random() % 3 == 0 ? special[random() % 7] : normal(random);
  return values;
}

}  // namespace

TEST_CASE("filters along interleaved rows and over rows: the bits of plain sums") {
  for (const std::int64_t taps : {1, 2, 3, 4, 7, 46}) {
    AxisOperator op;
    op.input_size = 50;
    op.output_size = 13;
    op.taps = taps;
    for (std::int64_t j = 0; j < op.output_size; ++j) op.first.push_back(j * 3 % (op.input_size - taps + 1));
    op.weights = random_doubles(op.output_size * taps, unsigned(taps));
    const std::vector<double> in = random_doubles(op.input_size * kRowsTogether, 77);
    std::vector<double> expected(index(op.output_size * kRowsTogether));
    for (std::int64_t j = 0; j < op.output_size; ++j) {
      for (std::int64_t r = 0; r < kRowsTogether; ++r) {
        double sums[2] = {0, 0};  // of even and of odd taps
        for (std::int64_t t = 0; t < taps; ++t) {
          sums[t % 2] += in[index((op.first[index(j)] + t) * kRowsTogether + r)] * op.row(j)[t];
        }
        expected[index(j * kRowsTogether + r)] = sums[0] + sums[1];
      }
    }
    on_every_instruction_set([&] {
      std::vector<double> found(expected.size());
      filter_interleaved(in.data(), op, found.data());
      CHECK(same_bits(found, expected));
    });
    for (const std::int64_t count : {8, 16, 24, 32, 40, 136}) {
      std::vector<std::vector<double>> lines;
      std::vector<const double*> rows;
      for (std::int64_t t = 0; t < taps; ++t) lines.push_back(random_doubles(count, unsigned(t + 5)));
      for (const std::vector<double>& line : lines) rows.push_back(line.data());
      const std::vector<double> weights = random_doubles(taps, 9);
      std::vector<double> sums(index(count), 0.0);
      std::vector<float> clipped;
      const double low = -5000, high = 9000;
      for (std::int64_t i = 0; i < count; ++i) {
        for (std::int64_t t = 0; t < taps; ++t) sums[index(i)] += lines[index(t)][index(i)] * weights[index(t)];
        clipped.push_back(static_cast<float>(std::min(std::max(sums[index(i)], low), high)));
      }
      on_every_instruction_set([&] {
        std::vector<double> found(index(count));
        filter_rows(rows.data(), weights.data(), taps, count, found.data());
        CHECK(same_bits(found, sums));
        std::vector<float> floats(index(count));
        filter_rows_to_float(rows.data(), weights.data(), taps, count, low, high, floats.data());
        CHECK(same_bits(floats, clipped));
      });
    }
  }
}

TEST_CASE("summaries of rows and columns of any length, with every kind of number") {
  for (std::int64_t count = 0; count <= 70; ++count) {
    CAPTURE(count);
    std::vector<float> row = awkward_floats(count, unsigned(count));
    if (count == 40) row.assign(40, 0.0f);
    if (count == 41) row.assign(41, std::nanf(""));
    RowSummary expected;
    float low = INFINITY, high = -INFINITY;
    for (std::int64_t i = 0; i < count; ++i) {
      const float v = row[index(i)];
      if (v == 0) continue;
      if (expected.end == 0) expected.first = i;
      expected.end = i + 1;
      if (std::isnan(v)) continue;
      ++expected.values;
      low = std::min(low, v);
      high = std::max(high, v);
    }
    std::vector<float> lows(row.size(), 3.0f), highs(row.size(), -3.0f);
    std::vector<std::int64_t> values(row.size(), std::int64_t{1} << 40);
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (!(row[i] < 0 || row[i] > 0)) continue;
      lows[i] = std::min(lows[i], row[i]);
      highs[i] = std::max(highs[i], row[i]);
      ++values[i];
    }
    on_every_instruction_set([&] {
      const RowSummary found = summarise_row(row.data(), count);
      CHECK(found.first == expected.first);
      CHECK(found.end == expected.end);
      CHECK(found.values == expected.values);
      if (expected.first != expected.end) {
        CHECK(found.low == low);
        CHECK(found.high == high);
      }
      std::vector<float> found_lows(row.size(), 3.0f), found_highs(row.size(), -3.0f);
      std::vector<std::int64_t> found_values(row.size(), std::int64_t{1} << 40);
      summarise_columns(row.data(), count, found_lows.data(), found_highs.data(), found_values.data());
      CHECK(same_bits(found_lows, lows));
      CHECK(same_bits(found_highs, highs));
      CHECK(found_values == values);
    });
  }
}

TEST_CASE("blends, gathers and the larger of two: the bits of plain loops, and nothing beyond the end") {
  for (std::int64_t count = 0; count <= 70; ++count) {
    CAPTURE(count);
    std::mt19937 random(static_cast<unsigned>(count) + 1);
    std::vector<float> rows[4];
    for (unsigned r = 0; r < 4; ++r) {
      for (const double value : random_doubles(count, r + 3)) rows[r].push_back(static_cast<float>(value));
    }
    const std::vector<double> line = random_doubles(31, 8), w0 = random_doubles(count, 1),
                              w1 = random_doubles(count, 2);
    std::vector<double> blend;
    std::vector<float> gathered;
    std::vector<std::int32_t> first;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::size_t at = index(i);
      const double line0 = double{rows[0][at]} * 0.3 + double{rows[2][at]} * 0.7;
      const double line1 = double{rows[1][at]} * 0.3 + double{rows[3][at]} * 0.7;
      blend.push_back(line0 * 0.1 + line1 * 0.9);
      first.push_back(static_cast<std::int32_t>(random() % 30));
      const std::size_t from = static_cast<std::size_t>(first.back());
      gathered.push_back(static_cast<float>(line[from] * w0[at] + line[from + 1] * w1[at]));
    }
    const std::vector<float> candidate = awkward_floats(count, 4), before = awkward_floats(count, 5);
    std::vector<float> best = before;
    std::vector<std::uint16_t> labels(index(count), 7);
    for (std::size_t i = 0; i < best.size(); ++i) {
      if (!(candidate[i] > best[i])) continue;
      best[i] = candidate[i];
      labels[i] = 65535;
    }
    on_every_instruction_set([&] {
      std::vector<double> found(index(count) + 1, -1.5);
      blend_rows(rows[0].data(), rows[1].data(), rows[2].data(), rows[3].data(), 0.3, 0.7, 0.1, 0.9, count,
                 found.data());
      CHECK(found.back() == -1.5);
      found.pop_back();
      CHECK(same_bits(found, blend));
      std::vector<float> found_values(index(count) + 1, -1.5f);
      gather_linear(line.data(), first.data(), w0.data(), w1.data(), count, found_values.data());
      CHECK(found_values.back() == -1.5f);
      found_values.pop_back();
      CHECK(same_bits(found_values, gathered));
      std::vector<float> found_best = before;
      std::vector<std::uint16_t> found_labels(index(count), 7);
      keep_larger(candidate.data(), 65535, count, found_best.data(), found_labels.data());
      CHECK(same_bits(found_best, best));
      CHECK(found_labels == labels);
    });
  }
}
