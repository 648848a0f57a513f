// Random layers for the kernels' tests: features in any storage, kernels of any density, and the comparison of a
// convolution with the reference over everything that it writes.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/simd/dispatch.h"
#include "kernels/bf16.h"
#include "kernels/convolution.h"
#include "kernels/transposed_convolution.h"
#include "support/planned_kernels.h"

namespace e2enet::test {

using kernels::Activation;
using kernels::Element;
using kernels::Extent;
using kernels::Feature;
using kernels::SparseKernels;
using kernels::Stride;

// A feature and its memory, which ends where its last element does: an address sanitizer sees any read beyond.
class FeatureMemory {
 public:
  FeatureMemory() = default;
  // stored_rows == 0: all rows.
  FeatureMemory(int channels, Extent extent, Element element, int stored_rows = 0) {
    feature_.element = element;
    feature_.channels = channels;
    feature_.extent = extent;
    feature_.stored_rows = stored_rows == 0 ? extent.height : stored_rows;
    feature_.channel_stride = feature_.stored_rows * feature_.row_elements();
    const auto count = static_cast<std::size_t>(channels * feature_.channel_stride);
    if (element == Element::f32) {
      floats_.assign(count, std::nanf(""));  // what is read before it is written shows
      feature_.data = floats_.data();
    } else {
      halves_.assign(count, 0x7FC0);
      feature_.data = halves_.data();
    }
  }
  FeatureMemory(FeatureMemory&&) = default;  // moving a vector keeps its memory where it is
  FeatureMemory& operator=(FeatureMemory&&) = default;

  const Feature& feature() const { return feature_; }

  float get(int channel, int depth, int row, int pixel) const {
    const std::ptrdiff_t at =
        feature_.element_offset(channel, row) + std::ptrdiff_t{pixel} * feature_.extent.depth + depth;
    return feature_.element == Element::f32 ? floats_[static_cast<std::size_t>(at)]
                                            : kernels::widen_bf16(halves_[static_cast<std::size_t>(at)]);
  }
  void set(int channel, int depth, int row, int pixel, float value) {
    const std::ptrdiff_t at =
        feature_.element_offset(channel, row) + std::ptrdiff_t{pixel} * feature_.extent.depth + depth;
    if (feature_.element == Element::f32) {
      floats_[static_cast<std::size_t>(at)] = value;
    } else {
      halves_[static_cast<std::size_t>(at)] = kernels::round_to_bf16(value);
    }
  }

  // Rows that a ring cannot hold at once are simply written over, as an engine would.
  void fill_row(int row, const std::function<float(int channel, int depth, int pixel)>& value) {
    for (int c = 0; c < feature_.channels; ++c) {
      for (int w = 0; w < feature_.extent.width; ++w) {
        for (int d = 0; d < feature_.extent.depth; ++d) set(c, d, row, w, value(c, d, w));
      }
    }
  }

 private:
  Feature feature_;
  std::vector<float> floats_;
  std::vector<std::uint16_t> halves_;
};

// Kernels with each (output, input) pair kept with probability `density`; all of them where it is 1.
class KernelMemory {
 public:
  KernelMemory(int outputs, int inputs, int taps, double density, std::uint32_t seed)
      : outputs_(outputs), inputs_(inputs), taps_(taps) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform(0, 1);
    std::normal_distribution<float> normal;
    row_begin_.push_back(0);
    for (int o = 0; o < outputs; ++o) {
      for (int c = 0; c < inputs; ++c) {
        if (density < 1 && uniform(random) >= density) continue;
        input_.push_back(c);
        for (int t = 0; t < taps; ++t) values_.push_back(normal(random));
      }
      row_begin_.push_back(static_cast<std::int32_t>(input_.size()));
    }
  }
  KernelMemory(const KernelMemory&) = delete;

  SparseKernels view() const { return {outputs_, inputs_, taps_, row_begin_.data(), input_.data(), values_.data()}; }

 private:
  int outputs_;
  int inputs_;
  int taps_;
  std::vector<std::int32_t> row_begin_;
  std::vector<std::int32_t> input_;
  std::vector<float> values_;
};

// Runs `body` once for each instruction set of this machine and build, and leaves the best one chosen.
inline void for_each_instruction_set(const std::function<void(const std::string& name)>& body) {
  const std::vector<std::string> names = simd::available_instruction_sets();
  for (const std::string& name : names) {
    simd::use_instruction_set(name);
    body(name);
  }
  simd::use_instruction_set(names.front());
}

// Everything that makes one case of a convolution; operator<< prints what is needed to repeat it.
struct ConvolutionCase {
  std::vector<int> source_channels;
  int outputs = 1;
  Extent input;
  Stride stride{1, 1, 1};
  int groups = 5;
  double density = 1;
  Element source_element = Element::f32;
  Element output_element = Element::f32;
  bool activated = true;
  bool biased = true;
  int ring_rows = 0;        // of every source; 0: sources hold all rows
  Stride pooling{0, 0, 0};  // depth 0: none
  float source_mean = 0;    // of the stored values
  std::uint32_t seed = 1;
};

inline std::string to_string(Element element) { return element == Element::f32 ? "f32" : "bf16"; }

inline std::ostream& operator<<(std::ostream& out, const ConvolutionCase& one) {
  out << "channels";
  for (int channels : one.source_channels) out << ' ' << channels;
  return out << " -> " << one.outputs << ", input (d,h,w) " << one.input.depth << ' ' << one.input.height << ' '
             << one.input.width << ", stride " << one.stride.depth << ' ' << one.stride.height << ' '
             << one.stride.width << ", groups " << one.groups << ", density " << one.density << ", sources "
             << to_string(one.source_element) << ", output " << to_string(one.output_element)
             << (one.activated ? ", activated" : ", bare") << (one.biased ? ", bias" : ", no bias") << ", ring rows "
             << one.ring_rows << ", pooling " << one.pooling.depth << ' ' << one.pooling.height << ' '
             << one.pooling.width << ", mean " << one.source_mean << ", seed " << one.seed;
}

using ConvolutionFactory =
    std::function<std::unique_ptr<PlannedConvolution>(const kernels::ConvolutionShape&, const SparseKernels&, Element)>;

struct ConvolutionResult {
  std::string name;
  FeatureMemory output;
  FeatureMemory pooled;
  std::vector<double> mean;                // per output channel, all slots merged
  std::vector<double> squared_deviations;  // likewise
};

// Runs one algorithm on a case, band by band; a ring's rows are written just before the band that needs them. `order`
// seeds the order in which the items of a band run (0: as numbered).
inline ConvolutionResult run_convolution(const ConvolutionCase& one, const ConvolutionFactory& make,
                                         std::uint32_t order = 0, bool rings = true) {
  int inputs = 0;
  for (int channels : one.source_channels) inputs += channels;
  const KernelMemory kernel_memory(one.outputs, inputs, 9, one.density, one.seed);
  const kernels::ConvolutionShape shape{one.input, one.stride, one.groups, one.source_channels};
  const auto convolution = make(shape, kernel_memory.view(), one.output_element);
  REQUIRE(convolution != nullptr);
  CHECK(convolution->packed_bytes() == convolution->planned_bytes());

  int most_rows = 0;  // that a band reads, so that a ring must hold them
  for (int band = 0; band < convolution->bands(); ++band) {
    const int begin = band * convolution->rows_per_band();
    const int end = std::min(begin + convolution->rows_per_band(), shape.output().height);
    const kernels::RowRange read = kernels::rows_read(shape, begin, end);
    most_rows = std::max(most_rows, read.end - read.begin);
  }

  std::mt19937 random(one.seed + 1000);
  std::normal_distribution<float> normal;
  std::vector<FeatureMemory> memories;
  std::vector<std::vector<float>> values;  // [source][row][channel][depth][pixel]
  std::vector<std::vector<float>> scales, offsets;
  std::vector<kernels::Source> sources;
  for (int channels : one.source_channels) {
    const int stored = rings && one.ring_rows > 0 ? std::min(std::max(one.ring_rows, most_rows), one.input.height) : 0;
    memories.emplace_back(channels, one.input, one.source_element, stored);
    values.emplace_back(static_cast<std::size_t>(channels * one.input.voxels()));
    for (float& value : values.back()) value = one.source_mean + normal(random);
    scales.emplace_back();
    offsets.emplace_back();
    for (int c = 0; c < channels; ++c) {
      scales.back().push_back(0.5f + 0.5f * std::abs(normal(random)));
      offsets.back().push_back(normal(random) - scales.back().back() * one.source_mean);
    }
  }
  for (std::size_t s = 0; s < memories.size(); ++s) {
    kernels::Source source;
    source.feature = memories[s].feature();
    if (one.activated) source.activation = {scales[s].data(), offsets[s].data(), 0.01f};
    sources.push_back(source);
  }
  std::vector<float> bias;
  for (int o = 0; o < one.outputs; ++o) bias.push_back(normal(random));

  ConvolutionResult result;
  result.name = convolution->name();
  const Extent output = shape.output();
  result.output = FeatureMemory(one.outputs, output, one.output_element);
  std::vector<std::uint8_t> take_minimum;
  for (int o = 0; o < one.outputs; ++o) take_minimum.push_back(o % 3 == 1);
  kernels::ConvolutionArguments arguments;
  arguments.sources = sources.data();
  arguments.bias = one.biased ? bias.data() : nullptr;
  arguments.output = result.output.feature();
  if (one.pooling.depth > 0) {
    REQUIRE(convolution->can_pool(one.pooling));
    result.pooled = FeatureMemory(
        one.outputs,
        {output.depth / one.pooling.depth, output.height / one.pooling.height, output.width / one.pooling.width},
        one.output_element);
    arguments.pooled = {result.pooled.feature(), take_minimum.data()};
  }
  const int slots = convolution->bands() * convolution->slots_per_band();
  // What nobody may have written is a NaN of this one payload.
  const float untouched = std::nanf("77");
  const auto is_untouched = [&](const kernels::PartialStatistics& part) {
    return std::memcmp(&part.mean, &untouched, sizeof untouched) == 0 &&
           std::memcmp(&part.squared_deviations, &untouched, sizeof untouched) == 0;
  };
  std::vector<kernels::PartialStatistics> statistics(static_cast<std::size_t>(slots * one.outputs),
                                                     {untouched, untouched});
  arguments.statistics = statistics.data();

  const std::size_t scratch_bytes = convolution->scratch_bytes();
  AlignedBuffer scratch(scratch_bytes, "a test's scratch");
  int written = 0;
  for (int band = 0; band < convolution->bands(); ++band) {
    const int begin = band * convolution->rows_per_band();
    const int end = std::min(begin + convolution->rows_per_band(), output.height);
    REQUIRE(begin < end);
    for (const int need = kernels::rows_read(shape, begin, end).end; written < need; ++written) {
      for (std::size_t s = 0; s < memories.size(); ++s) {
        const int channels = one.source_channels[s];
        const std::size_t plane = static_cast<std::size_t>(one.input.depth) * one.input.width;
        memories[s].fill_row(written, [&](int c, int d, int w) {
          return values[s][(static_cast<std::size_t>(written) * channels + c) * plane +
                           static_cast<std::size_t>(d) * one.input.width + w];
        });
      }
    }
    std::vector<int> items;
    for (int item = 0; item < convolution->items_per_band(); ++item) items.push_back(item);
    if (order != 0) std::shuffle(items.begin(), items.end(), std::mt19937(order));
    for (int item : items) {
      if (scratch_bytes > 0) std::fill_n(reinterpret_cast<unsigned char*>(scratch.data()), scratch_bytes, 0xFF);
      // Each item fills entries of its own slot that nobody has filled, and none of another.
      const std::vector<kernels::PartialStatistics> before = statistics;
      convolution->run(arguments, band, item, scratch.data());
      int filled = 0, wrong = 0;
      for (std::size_t i = 0; i < statistics.size(); ++i) {
        if (std::memcmp(&statistics[i], &before[i], sizeof statistics[i]) == 0) continue;
        const bool own = static_cast<int>(i) / one.outputs == convolution->slot_of(band, item);
        wrong += !own || !is_untouched(before[i]);
        ++filled;
      }
      CHECK(filled > 0);
      CHECK(wrong == 0);
    }
  }

  for (int o = 0; o < one.outputs; ++o) {
    double mean = 0, squares = 0, seen = 0;
    for (int slot = 0; slot < slots; ++slot) {
      const double count = static_cast<double>(
          convolution->slot_voxels(slot / convolution->slots_per_band(), slot % convolution->slots_per_band()));
      const kernels::PartialStatistics& part = statistics[static_cast<std::size_t>(slot * one.outputs + o)];
      const double difference = double{part.mean} - mean;
      squares += double{part.squared_deviations} + difference * difference * seen * count / (seen + count);
      mean += difference * count / (seen + count);
      seen += count;
    }
    CHECK(seen == static_cast<double>(output.voxels()));
    result.mean.push_back(mean);
    result.squared_deviations.push_back(squares);
  }
  return result;
}

struct Difference {
  double largest = 0;           // over the largest magnitude expected
  double root_mean_square = 0;  // over the root mean square expected
};

inline Difference difference(const FeatureMemory& found, const FeatureMemory& expected) {
  const Feature& feature = expected.feature();
  double largest = 0, largest_expected = 0, squares = 0, squares_expected = 0;
  for (int c = 0; c < feature.channels; ++c) {
    for (int h = 0; h < feature.extent.height; ++h) {
      for (int w = 0; w < feature.extent.width; ++w) {
        for (int d = 0; d < feature.extent.depth; ++d) {
          const double want = expected.get(c, d, h, w);
          const double off = std::abs(found.get(c, d, h, w) - want);
          if (!(off <= largest)) largest = std::isnan(off) ? HUGE_VAL : off;
          largest_expected = std::max(largest_expected, std::abs(want));
          squares += off * off;
          squares_expected += want * want;
        }
      }
    }
  }
  if (largest_expected == 0) return {largest, std::sqrt(squares)};
  return {largest / largest_expected, std::sqrt(squares / squares_expected)};
}

// That an output too large for the caches, which is written past them, has the same bits as one that is not. Whether it
// is large is told by its channel stride, so a small one with channels far apart takes that path; one that does not
// begin on a cache line does not.
inline void check_same_past_caches(int outputs, const Extent& extent, Element element,
                                   const std::function<void(const Feature& output)>& write) {
  constexpr std::ptrdiff_t kChannelStride = 5 << 20;
  const std::size_t bytes = kChannelStride * outputs * element_bytes(element);
  AlignedBuffer buffers[2] = {{bytes + 64, "a test's output"}, {bytes + 64, "a test's output"}};
  for (int which = 0; which < 2; ++which) {
    Feature output;
    output.data = buffers[which].data() + 16 * which;
    output.element = element;
    output.channels = outputs;
    output.extent = extent;
    output.channel_stride = kChannelStride;
    output.stored_rows = extent.height;
    CHECK(kernels::stores_past_caches(output) == (which == 0));
    write(output);
  }
  for (int o = 0; o < outputs; ++o) {
    const std::size_t at = o * kChannelStride * element_bytes(element);
    const std::size_t count = static_cast<std::size_t>(extent.voxels()) * element_bytes(element);
    CHECK(std::memcmp(buffers[0].data() + at, buffers[1].data() + 16 + at, count) == 0);
    const std::byte* written = buffers[0].data() + at;
    CHECK(std::any_of(written, written + count, [](std::byte byte) { return byte != std::byte{0}; }));
  }
}

// The whole contract of Convolution on one case: output, pooled output and statistics agree with the reference.
// `tolerance` bounds the largest difference over the largest value, in f32; bf16 storage adds its own rounding.
inline void check_convolution(const ConvolutionCase& one, const ConvolutionFactory& make, double tolerance) {
  const ConvolutionResult expected = run_convolution(one, make_reference_convolution, 0, false);
  const ConvolutionResult found = run_convolution(one, make);
  CAPTURE(found.name);
  CAPTURE(one);
  // Two roundings to 8 bits may fall to different sides.
  const double storage = one.output_element == Element::bf16 ? 1.0 / 128 : 0.0;
  CHECK(difference(found.output, expected.output).largest <= tolerance + storage);
  if (one.pooling.depth > 0) CHECK(difference(found.pooled, expected.pooled).largest <= tolerance + storage);
  double largest = 0;
  for (int o = 0; o < one.outputs; ++o) {
    largest = std::max(largest, std::sqrt(expected.squared_deviations[static_cast<std::size_t>(o)]));
    largest = std::max(largest, std::abs(expected.mean[static_cast<std::size_t>(o)]));
  }
  const double voxels = static_cast<double>(expected.output.feature().extent.voxels());
  for (int o = 0; o < one.outputs; ++o) {
    const auto i = static_cast<std::size_t>(o);
    const double sd = std::sqrt(expected.squared_deviations[i] / voxels);
    CAPTURE(o);
    CHECK(std::abs(found.mean[i] - expected.mean[i]) <= (1e-5 + storage) * (sd + std::abs(expected.mean[i])) + 1e-5);
    CHECK(std::sqrt(found.squared_deviations[i] / voxels) == doctest::Approx(sd).epsilon(1e-4 + storage).scale(1e-3));
  }
}

}  // namespace e2enet::test
