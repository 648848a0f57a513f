// Layout changes, pooling, head, probabilities and the norm, against plain loops on every instruction set.
#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "e2enet/error.h"
#include "kernels/elementwise.h"
#include "layers.h"

using namespace e2enet;
using namespace e2enet::test;

namespace {

FeatureMemory random_feature(int channels, Extent extent, Element element, std::uint32_t seed) {
  FeatureMemory memory(channels, extent, element);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (int h = 0; h < extent.height; ++h) memory.fill_row(h, [&](int, int, int) { return normal(random); });
  return memory;
}

struct RandomActivation {
  RandomActivation(int channels, std::uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (int c = 0; c < channels; ++c) {
      scale.push_back(normal(random));  // also below zero: the smallest stored value is then the largest activated
      offset.push_back(normal(random));
    }
  }
  Activation view() const { return {scale.data(), offset.data(), 0.01f}; }
  double apply(int channel, float value) const {
    const auto c = static_cast<std::size_t>(channel);
    const double normalised = double{scale[c]} * value + offset[c];
    return normalised > 0 ? normalised : 0.01 * normalised;
  }
  std::vector<float> scale, offset;
};

}  // namespace

TEST_CASE("a patch is loaded with its strides, mirrored axes and the zeros around what is inside") {
  const Extent extent{19, 4, 37};
  const int channels = 2;
  std::vector<float> volume(static_cast<std::size_t>(channels * extent.voxels()));
  for (std::size_t i = 0; i < volume.size(); ++i) volume[i] = 1.0f + static_cast<float>(i % 251);  // exact in bf16
  for_each_instruction_set([&](const std::string& instruction_set) {
    for (int mirrored = 0; mirrored < 8; ++mirrored) {
      for (bool cut : {false, true}) {
        for (Element element : {Element::f32, Element::bf16}) {
          CAPTURE(instruction_set);
          CAPTURE(mirrored);
          CAPTURE(cut);
          const int extents[3] = {extent.depth, extent.height, extent.width};
          const std::ptrdiff_t strides[3] = {std::ptrdiff_t{extent.height} * extent.width, extent.width, 1};
          kernels::PatchView patch;
          patch.data = volume.data();
          patch.channel_stride = extent.voxels();
          for (int axis = 0; axis < 3; ++axis) {
            const bool flip = (mirrored >> axis & 1) != 0;
            patch.stride[axis] = flip ? -strides[axis] : strides[axis];
            if (flip) patch.data += strides[axis] * (extents[axis] - 1);
            patch.begin[axis] = cut ? 1 : 0;
            patch.end[axis] = cut ? extents[axis] - 2 : extents[axis];
          }
          FeatureMemory feature(channels, extent, element);
          kernels::load_patch_rows(patch, feature.feature(), 0, extent.height);
          int wrong = 0;
          for (int c = 0; c < channels; ++c) {
            for (int d = 0; d < extent.depth; ++d) {
              for (int h = 0; h < extent.height; ++h) {
                for (int w = 0; w < extent.width; ++w) {
                  const int at[3] = {d, h, w};
                  bool inside = true;
                  std::ptrdiff_t from = c * patch.channel_stride;
                  for (int axis = 0; axis < 3; ++axis) {
                    inside = inside && at[axis] >= patch.begin[axis] && at[axis] < patch.end[axis];
                    from += at[axis] * patch.stride[axis];
                  }
                  wrong += feature.get(c, d, h, w) != (inside ? patch.data[from] : 0.0f);
                }
              }
            }
          }
          CHECK(wrong == 0);
        }
      }
    }
  });
}

TEST_CASE("a part of the patch that is empty gives zeros only") {
  const Extent extent{3, 2, 5};
  const float value = 7;
  kernels::PatchView patch;
  patch.data = &value;  // nothing of it may be read
  FeatureMemory feature(1, extent, Element::f32);
  kernels::load_patch_rows(patch, feature.feature(), 0, extent.height);
  for (int h = 0; h < 2; ++h) {
    for (int w = 0; w < 5; ++w) {
      for (int d = 0; d < 3; ++d) CHECK(feature.get(0, d, h, w) == 0.0f);
    }
  }
}

TEST_CASE("activated rows come out in (C, D, H, W) order") {
  for (const Extent& extent : {Extent{1, 2, 3}, Extent{5, 3, 7}, Extent{16, 2, 300}}) {  // the last beyond one buffer
    for (Element element : {Element::f32, Element::bf16}) {
      const FeatureMemory feature = random_feature(3, extent, element, 1);
      const RandomActivation activation(3, 2);
      for_each_instruction_set([&](const std::string& instruction_set) {
        CAPTURE(instruction_set);
        std::vector<float> values(static_cast<std::size_t>(3 * extent.voxels()));
        kernels::store_activated_rows({feature.feature(), activation.view()}, values.data(), 0, extent.height);
        double largest = 0;
        std::size_t at = 0;
        for (int c = 0; c < 3; ++c) {
          for (int d = 0; d < extent.depth; ++d) {
            for (int h = 0; h < extent.height; ++h) {
              for (int w = 0; w < extent.width; ++w) {
                largest = std::max(largest, std::abs(values[at++] - activation.apply(c, feature.get(c, d, h, w))));
              }
            }
          }
        }
        CHECK(largest < 1e-6);
      });
    }
  }
}

TEST_CASE(
    "max pooling of activated features: odd extents lose their remainder, strides up to 3, norm weights below zero") {
  for (const Stride& stride : {Stride{1, 1, 1}, Stride{2, 2, 2}, Stride{1, 2, 2}, Stride{2, 1, 1}, Stride{3, 3, 3},
                               Stride{3, 1, 2}, Stride{20, 1, 1}}) {
    for (const Extent& extent : {Extent{20, 6, 7}, Extent{41, 3, 3}, Extent{66, 3, 4}}) {
      for (Element element : {Element::f32, Element::bf16}) {
        const FeatureMemory feature = random_feature(2, extent, element, 3);
        const RandomActivation activation(2, 4);
        const Extent pooled{extent.depth / stride.depth, extent.height / stride.height, extent.width / stride.width};
        FeatureMemory expected(2, pooled, element);
        for (int c = 0; c < 2; ++c) {
          for (int h = 0; h < pooled.height; ++h) {
            for (int w = 0; w < pooled.width; ++w) {
              for (int d = 0; d < pooled.depth; ++d) {
                double best = -HUGE_VAL;
                for (int a = 0; a < stride.height; ++a) {
                  for (int b = 0; b < stride.width; ++b) {
                    for (int e = 0; e < stride.depth; ++e) {
                      best =
                          std::max(best, activation.apply(c, feature.get(c, d * stride.depth + e, h * stride.height + a,
                                                                         w * stride.width + b)));
                    }
                  }
                }
                expected.set(c, d, h, w, static_cast<float>(best));
              }
            }
          }
        }
        for_each_instruction_set([&](const std::string& instruction_set) {
          CAPTURE(instruction_set);
          CAPTURE(stride.depth);
          CAPTURE(extent.depth);
          FeatureMemory found(2, pooled, element);
          kernels::max_pool_rows({feature.feature(), activation.view()}, found.feature(), stride, 0, pooled.height);
          CHECK(difference(found, expected).largest < (element == Element::f32 ? 1e-6 : 1.0 / 128));
        });
      }
    }
  }
}

TEST_CASE("head: logits of activated features, any number of classes and channels") {
  for (int classes : {1, 2, 3, 4, 5, 16}) {
    for (int channels : {1, 7, 48, 130}) {  // 130: more than one block of channels
      for (const Extent& extent : {Extent{5, 2, 7}, Extent{40, 1, 31}}) {
        const Element element = channels == 7 ? Element::bf16 : Element::f32;
        const FeatureMemory feature = random_feature(channels, extent, element, 5);
        const RandomActivation activation(channels, 6);
        std::mt19937 random(7);
        std::normal_distribution<float> normal;
        std::vector<float> weight(static_cast<std::size_t>(classes * channels));
        for (float& value : weight) value = normal(random);
        const int row = extent.height - 1;
        const std::ptrdiff_t voxels = feature.feature().row_elements();
        for_each_instruction_set([&](const std::string& instruction_set) {
          CAPTURE(instruction_set);
          CAPTURE(classes);
          CAPTURE(channels);
          std::vector<float> logits(static_cast<std::size_t>(classes * voxels), std::nanf(""));
          kernels::head_row({feature.feature(), activation.view()}, weight.data(), classes, row, logits.data());
          double largest = 0;
          std::size_t at = 0;
          for (int k = 0; k < classes; ++k) {
            for (int w = 0; w < extent.width; ++w) {
              for (int d = 0; d < extent.depth; ++d) {
                double sum = 0;
                for (int c = 0; c < channels; ++c) {
                  sum += double{weight[static_cast<std::size_t>(k * channels + c)]} *
                         activation.apply(c, feature.get(c, d, row, w));
                }
                const double off = std::abs(logits[at++] - sum);
                largest = off <= largest ? largest : off;
              }
            }
          }
          CHECK(largest < 2e-5);
        });
      }
    }
  }
}

TEST_CASE("softmax and sigmoid: exact to a few units in the last place, no overflow, tails") {
  for (int classes : {1, 2, 3, 16}) {
    for (std::ptrdiff_t voxels : {std::ptrdiff_t{1}, std::ptrdiff_t{15}, std::ptrdiff_t{16}, std::ptrdiff_t{100}}) {
      std::mt19937 random(8);
      std::normal_distribution<float> normal(0, 20);
      std::vector<float> logits(static_cast<std::size_t>(classes * voxels));
      for (float& value : logits) value = normal(random);
      logits[0] = 1e4f;  // an exponential of this would overflow
      for_each_instruction_set([&](const std::string& instruction_set) {
        CAPTURE(instruction_set);
        std::vector<float> soft = logits, sigmoids = logits;
        kernels::softmax(soft.data(), classes, voxels);
        kernels::sigmoid(sigmoids.data(), classes, voxels);
        double largest = 0;
        for (std::ptrdiff_t v = 0; v < voxels; ++v) {
          double most = -HUGE_VAL, sum = 0;
          const auto logit = [&](int k) { return double{logits[static_cast<std::size_t>(k * voxels + v)]}; };
          for (int k = 0; k < classes; ++k) most = std::max(most, logit(k));
          for (int k = 0; k < classes; ++k) sum += std::exp(logit(k) - most);
          for (int k = 0; k < classes; ++k) {
            const auto at = static_cast<std::size_t>(k * voxels + v);
            const double soft_off = std::abs(soft[at] - std::exp(logit(k) - most) / sum);
            const double sigmoid_off = std::abs(sigmoids[at] - 1 / (1 + std::exp(-logit(k))));
            largest = soft_off <= largest ? largest : soft_off;
            largest = sigmoid_off <= largest ? largest : sigmoid_off;
          }
        }
        CHECK(largest < 5e-7);
      });
    }
  }
}

TEST_CASE(
    "the instance norm merges slots of any size, empty ones too, and keeps a small deviation beside a large mean") {
  const int outputs = 21;
  const std::vector<std::int64_t> voxels{5, 0, 1, 40, 7, 0};
  std::mt19937 random(9);
  std::normal_distribution<double> normal;
  std::vector<kernels::PartialStatistics> statistics(voxels.size() * outputs);
  std::vector<float> weight, bias, scale(outputs), offset(outputs);
  std::vector<double> means, variances;
  for (int o = 0; o < outputs; ++o) {
    const double center = o % 2 == 0 ? 1000.0 : 0.0;
    std::vector<double> all;
    for (std::size_t slot = 0; slot < voxels.size(); ++slot) {
      std::vector<double> values;
      for (std::int64_t v = 0; v < voxels[slot]; ++v) values.push_back(center + normal(random));
      double mean = 0, squares = 0;
      for (double value : values) mean += value / static_cast<double>(values.size());
      for (double value : values) squares += (value - mean) * (value - mean);
      // What stands in an empty slot must not matter.
      statistics[slot * outputs + static_cast<std::size_t>(o)] =
          values.empty() ? kernels::PartialStatistics{std::nanf(""), std::nanf("")}
                         : kernels::PartialStatistics{static_cast<float>(mean), static_cast<float>(squares)};
      all.insert(all.end(), values.begin(), values.end());
    }
    double mean = 0, variance = 0;
    for (double value : all) mean += value / static_cast<double>(all.size());
    for (double value : all) variance += (value - mean) * (value - mean) / static_cast<double>(all.size());
    means.push_back(mean);
    variances.push_back(variance);
    weight.push_back(static_cast<float>(1 + 0.1 * o));
    bias.push_back(static_cast<float>(o));
  }
  for (const auto& [begin, end] : {std::pair<int, int>{0, 9}, {9, outputs}}) {
    kernels::finish_instance_norm(statistics.data(), voxels.data(), static_cast<int>(voxels.size()), outputs, begin,
                                  end, weight.data(), bias.data(), 1e-5f, scale.data(), offset.data());
  }
  for (std::size_t o = 0; o < static_cast<std::size_t>(outputs); ++o) {
    CAPTURE(o);
    const double factor = weight[o] / std::sqrt(variances[o] + 1e-5);
    CHECK(scale[o] == doctest::Approx(factor).epsilon(1e-4));
    CHECK(std::abs(scale[o] * means[o] + offset[o] - bias[o]) < 2e-3);
  }
}

TEST_CASE("an instruction set that is not there is refused, and the choice before stays") {
  const std::vector<std::string> names = simd::available_instruction_sets();
  REQUIRE(!names.empty());
  simd::use_instruction_set(names.back());
  CHECK(simd::instruction_set() == names.back());
  CHECK_THROWS_WITH_AS(simd::use_instruction_set("AVX9"), doctest::Contains("found \"AVX9\""), Error);
  CHECK(simd::instruction_set() == names.back());
  simd::use_instruction_set(names.front());
}
