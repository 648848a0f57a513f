#include "kernels/elementwise.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/simd/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once for each target.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "base/simd/dispatch_table.h"
#include "kernels/pooling-inl.h"
#include "kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace e2enet::kernels {
namespace HWY_NAMESPACE {

// --- Activated rows, pooling ---

void ActivateRowF32(const float* row, const Activation& activation, int channel, std::ptrdiff_t count, float* to) {
  activate_elements(row, activation_of(Floats(), activation, channel), count, to);
}

void ActivateRowBf16(const std::uint16_t* row, const Activation& activation, int channel, std::ptrdiff_t count,
                     float* to) {
  activate_elements(row, activation_of(Floats(), activation, channel), count, to);
}

template <typename T>
void PoolRow(const Source& source, const Feature& output, Stride stride, int channel, int row) {
  const Floats d;
  const auto from_row = [&](int a) {
    return static_cast<const T*>(source.feature.row(channel, row * stride.height + a));
  };
  pool_pixels<T>(from_row, source.feature.extent.depth, stride, activation_of(d, source.activation, channel), 1.0f,
                 output.extent.width, output.extent.depth, static_cast<T*>(output.row(channel, row)));
}

void PoolRowF32(const Source& source, const Feature& output, Stride stride, int channel, int row) {
  PoolRow<float>(source, output, stride, channel, row);
}

void PoolRowBf16(const Source& source, const Feature& output, Stride stride, int channel, int row) {
  PoolRow<std::uint16_t>(source, output, stride, channel, row);
}

// --- Head ---

// Channels x lanes of one block of activated voxels, on the stack: 16 KiB, since a thread may have as little as 128 KiB
// of stack in all (musl's default, and many embedded systems').
constexpr int kHeadChannels = 64;
constexpr int kHeadVoxels = 64;

// sums[k][v] over the block's channels, for 4 classes x 4 vectors (fewer at the ends): 16 accumulators cover the
// latency of two FMA units, and each load serves 4 FMAs.
template <int kClasses, int kVectors>
HWY_INLINE void HeadTile(const float* block, const float* weight, std::ptrdiff_t weight_stride, int channels,
                         bool first, float* logits, std::ptrdiff_t voxels) {
  const Floats d;
  const std::ptrdiff_t lanes = static_cast<std::ptrdiff_t>(hn::Lanes(d));
  FloatVector sums[kClasses][kVectors];
  for (int k = 0; k < kClasses; ++k) {
    for (int v = 0; v < kVectors; ++v) sums[k][v] = first ? hn::Zero(d) : hn::LoadU(d, logits + k * voxels + v * lanes);
  }
  for (int c = 0; c < channels; ++c, block += kHeadVoxels) {
    FloatVector x[kVectors];
    for (int v = 0; v < kVectors; ++v) x[v] = hn::Load(d, block + v * lanes);
    for (int k = 0; k < kClasses; ++k) {
      const FloatVector w = hn::Set(d, weight[k * weight_stride + c]);
      for (int v = 0; v < kVectors; ++v) sums[k][v] = hn::MulAdd(x[v], w, sums[k][v]);
    }
  }
  for (int k = 0; k < kClasses; ++k) {
    for (int v = 0; v < kVectors; ++v) hn::StoreU(sums[k][v], d, logits + k * voxels + v * lanes);
  }
}

template <int kClasses>
void HeadClasses(const float* block, const float* weight, std::ptrdiff_t weight_stride, int channels, bool first,
                 float* logits, std::ptrdiff_t voxels, int count) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  int i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    HeadTile<kClasses, 4>(block + i, weight, weight_stride, channels, first, logits + i, voxels);
  }
  for (; i + lanes <= count; i += lanes) {
    HeadTile<kClasses, 1>(block + i, weight, weight_stride, channels, first, logits + i, voxels);
  }
  for (; i < count; ++i) {
    for (int k = 0; k < kClasses; ++k) {
      float sum = first ? 0.0f : logits[k * voxels + i];
      for (int c = 0; c < channels; ++c) sum += weight[k * weight_stride + c] * block[c * kHeadVoxels + i];
      logits[k * voxels + i] = sum;
    }
  }
}

template <typename T>
void HeadRow(const Source& source, const float* weight, int classes, int row, float* logits) {
  const Feature& feature = source.feature;
  const std::ptrdiff_t voxels = feature.row_elements();
  HWY_ALIGN float block[kHeadChannels * kHeadVoxels];
  for (std::ptrdiff_t begin = 0; begin < voxels; begin += kHeadVoxels) {
    const int count = static_cast<int>(std::min<std::ptrdiff_t>(kHeadVoxels, voxels - begin));
    for (int first = 0; first < feature.channels; first += kHeadChannels) {
      const int channels = std::min(kHeadChannels, feature.channels - first);
      for (int c = 0; c < channels; ++c) {
        const T* from = static_cast<const T*>(feature.row(first + c, row)) + begin;
        activate_elements(from, activation_of(Floats(), source.activation, first + c), count, block + c * kHeadVoxels);
      }
      int k = 0;
      for (; k + 4 <= classes; k += 4) {
        HeadClasses<4>(block, weight + std::ptrdiff_t{k} * feature.channels + first, feature.channels, channels,
                       first == 0, logits + k * voxels + begin, voxels, count);
      }
      for (; k < classes; ++k) {
        HeadClasses<1>(block, weight + std::ptrdiff_t{k} * feature.channels + first, feature.channels, channels,
                       first == 0, logits + k * voxels + begin, voxels, count);
      }
    }
  }
}

void HeadRowF32(const Source& source, const float* weight, int classes, int row, float* logits) {
  HeadRow<float>(source, weight, classes, row, logits);
}

void HeadRowBf16(const Source& source, const float* weight, int classes, int row, float* logits) {
  HeadRow<std::uint16_t>(source, weight, classes, row, logits);
}

// --- Probabilities ---

// One vector of voxels (or `count` of them): the largest logit is taken off first, so that no exponential overflows.
template <bool kWhole>
HWY_INLINE void SoftmaxVoxels(float* values, int classes, std::ptrdiff_t voxels, std::size_t count) {
  const Floats d;
  const auto load = [&](int k) HWY_ATTR {
    return kWhole ? hn::LoadU(d, values + k * voxels) : load_some(d, values + k * voxels, count);
  };
  const auto store = [&](FloatVector value, int k) HWY_ATTR {
    if (kWhole) {
      hn::StoreU(value, d, values + k * voxels);
    } else {
      store_some(d, value, values + k * voxels, count);
    }
  };
  FloatVector largest = load(0);
  for (int k = 1; k < classes; ++k) largest = hn::Max(largest, load(k));
  FloatVector sum = hn::Zero(d);
  for (int k = 0; k < classes; ++k) {
    const FloatVector exponential = hn::Exp(d, hn::Sub(load(k), largest));
    store(exponential, k);
    sum = hn::Add(sum, exponential);
  }
  for (int k = 0; k < classes; ++k) store(hn::Div(load(k), sum), k);
}

void Softmax(float* values, int classes, std::ptrdiff_t voxels) {
  const Floats d;
  const std::ptrdiff_t lanes = static_cast<std::ptrdiff_t>(hn::Lanes(d));
  std::ptrdiff_t i = 0;
  for (; i + lanes <= voxels; i += lanes) SoftmaxVoxels<true>(values + i, classes, voxels, 0);
  if (i < voxels) SoftmaxVoxels<false>(values + i, classes, voxels, static_cast<std::size_t>(voxels - i));
}

// The exponential is taken of -|x| only, so that it never overflows.
HWY_INLINE FloatVector SigmoidOf(Floats d, FloatVector x) {
  const FloatVector one = hn::Set(d, 1.0f);
  const FloatVector exponential = hn::Exp(d, hn::Neg(hn::Abs(x)));
  const FloatVector above = hn::Div(one, hn::Add(one, exponential));
  return hn::IfThenElse(hn::Ge(x, hn::Zero(d)), above, hn::Mul(exponential, above));
}

void Sigmoid(float* values, std::ptrdiff_t count) {
  const Floats d;
  const std::ptrdiff_t lanes = static_cast<std::ptrdiff_t>(hn::Lanes(d));
  std::ptrdiff_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(SigmoidOf(d, hn::LoadU(d, values + i)), d, values + i);
  if (i < count) {
    const std::size_t rest = static_cast<std::size_t>(count - i);
    store_some(d, SigmoidOf(d, load_some(d, values + i, rest)), values + i, rest);
  }
}

// --- Layout changes ---

// to[j * to_stride + i] = from[i * from_stride + j * from_step] for i < rows, j < columns; 8 x 8 blocks keep the reads
// of a line and the writes of a line together.
template <typename T>
void TransposeToElements(const float* from, std::ptrdiff_t from_stride, std::ptrdiff_t from_step, int rows, int columns,
                         T* to, std::ptrdiff_t to_stride) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  constexpr int kColumns = 16;
  HWY_ALIGN float block[kColumns][HWY_MAX_BYTES / sizeof(float)];
  for (int i = 0; i < rows; i += lanes) {
    const int count = std::min(lanes, rows - i);
    for (int j = 0; j < columns; j += kColumns) {
      const int width = std::min(kColumns, columns - j);
      for (int a = 0; a < count; ++a) {
        const float* line = from + (i + a) * from_stride + j * from_step;
        for (int b = 0; b < width; ++b) block[b][a] = line[b * from_step];
      }
      for (int b = 0; b < width; ++b) {
        T* target = to + (j + b) * to_stride + i;
        if (count == lanes) {
          store_elements(d, hn::Load(d, block[b]), target);
        } else {
          store_some(d, hn::Load(d, block[b]), target, static_cast<std::size_t>(count));
        }
      }
    }
  }
}

void TransposeToF32(const float* from, std::ptrdiff_t from_stride, std::ptrdiff_t from_step, int rows, int columns,
                    float* to, std::ptrdiff_t to_stride) {
  TransposeToElements(from, from_stride, from_step, rows, columns, to, to_stride);
}

void TransposeToBf16(const float* from, std::ptrdiff_t from_stride, std::ptrdiff_t from_step, int rows, int columns,
                     std::uint16_t* to, std::ptrdiff_t to_stride) {
  TransposeToElements(from, from_stride, from_step, rows, columns, to, to_stride);
}

}  // namespace HWY_NAMESPACE
}  // namespace e2enet::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace e2enet::kernels {
namespace {

HWY_EXPORT(ActivateRowF32);
HWY_EXPORT(ActivateRowBf16);
HWY_EXPORT(PoolRowF32);
HWY_EXPORT(PoolRowBf16);
HWY_EXPORT(HeadRowF32);
HWY_EXPORT(HeadRowBf16);
HWY_EXPORT(Softmax);
HWY_EXPORT(Sigmoid);
HWY_EXPORT(TransposeToF32);
HWY_EXPORT(TransposeToBf16);

void zero_elements(void* to, Element element, std::ptrdiff_t count) {
  std::fill_n(static_cast<char*>(to), count * static_cast<std::ptrdiff_t>(element_bytes(element)), char{0});
}

}  // namespace

void load_patch_rows(const PatchView& patch, const Feature& feature, int row_begin, int row_end) {
  simd::prepare_dispatch();
  const std::ptrdiff_t depth = feature.extent.depth;
  const int depth_count = std::max(0, patch.end[0] - patch.begin[0]);
  const int width_count = std::max(0, patch.end[2] - patch.begin[2]);
  const std::ptrdiff_t first = patch.begin[2] * depth + patch.begin[0];
  for (int c = 0; c < feature.channels; ++c) {
    for (int h = row_begin; h < row_end; ++h) {
      void* row = feature.row(c, h);
      const bool inside = h >= patch.begin[1] && h < patch.end[1] && depth_count > 0 && width_count > 0;
      if (!inside || depth_count < feature.extent.depth || width_count < feature.extent.width) {
        zero_elements(row, feature.element, feature.row_elements());
      }
      if (!inside) continue;
      const float* from = patch.data + (patch.origin + c * patch.channel_stride + patch.begin[0] * patch.stride[0] +
                                        h * patch.stride[1] + patch.begin[2] * patch.stride[2]);
      if (feature.element == Element::f32) {
        E2ENET_DISPATCH(TransposeToF32)
        (from, patch.stride[0], patch.stride[2], depth_count, width_count, static_cast<float*>(row) + first, depth);
      } else {
        E2ENET_DISPATCH(TransposeToBf16)
        (from, patch.stride[0], patch.stride[2], depth_count, width_count, static_cast<std::uint16_t*>(row) + first,
         depth);
      }
    }
  }
}

void store_activated_rows(const Source& source, float* values, int row_begin, int row_end) {
  simd::prepare_dispatch();
  const Feature& feature = source.feature;
  const Extent& extent = feature.extent;
  // A few pixels at a time, through a buffer on the stack: their depths are activated as vectors, then laid apart.
  constexpr int kBuffer = 4096;
  float buffer[kBuffer];
  const std::ptrdiff_t plane = std::ptrdiff_t{extent.height} * extent.width;
  for (int c = 0; c < feature.channels; ++c) {
    for (int h = row_begin; h < row_end; ++h) {
      float* to = values + c * plane * extent.depth + std::ptrdiff_t{h} * extent.width;
      for (std::ptrdiff_t begin = 0; begin < feature.row_elements(); begin += kBuffer) {
        const std::ptrdiff_t count = std::min<std::ptrdiff_t>(kBuffer, feature.row_elements() - begin);
        if (feature.element == Element::f32) {
          E2ENET_DISPATCH(ActivateRowF32)
          (static_cast<const float*>(feature.row(c, h)) + begin, source.activation, c, count, buffer);
        } else {
          E2ENET_DISPATCH(ActivateRowBf16)
          (static_cast<const std::uint16_t*>(feature.row(c, h)) + begin, source.activation, c, count, buffer);
        }
        for (std::ptrdiff_t i = 0; i < count; ++i) {
          to[(begin + i) % extent.depth * plane + (begin + i) / extent.depth] = buffer[i];
        }
      }
    }
  }
}

void max_pool_rows(const Source& source, const Feature& output, Stride stride, int row_begin, int row_end) {
  simd::prepare_dispatch();
  const auto pool = output.element == Element::f32 ? E2ENET_DISPATCH(PoolRowF32) : E2ENET_DISPATCH(PoolRowBf16);
  for (int c = 0; c < output.channels; ++c) {
    for (int h = row_begin; h < row_end; ++h) pool(source, output, stride, c, h);
  }
}

void head_row(const Source& source, const float* weight, int classes, int row, float* logits) {
  simd::prepare_dispatch();
  if (source.feature.element == Element::f32) {
    E2ENET_DISPATCH(HeadRowF32)(source, weight, classes, row, logits);
  } else {
    E2ENET_DISPATCH(HeadRowBf16)(source, weight, classes, row, logits);
  }
}

void softmax(float* values, int classes, std::ptrdiff_t voxels) {
  simd::prepare_dispatch();
  E2ENET_DISPATCH(Softmax)(values, classes, voxels);
}

void sigmoid(float* values, int classes, std::ptrdiff_t voxels) {
  simd::prepare_dispatch();
  E2ENET_DISPATCH(Sigmoid)(values, classes * voxels);
}

void finish_instance_norm(const PartialStatistics* statistics, const std::int64_t* voxels, int slots, int outputs,
                          int output_begin, int output_end, const float* norm_weight, const float* norm_bias,
                          float epsilon, float* scale, float* offset) {
  constexpr int kBlock = 16;  // outputs at a time: a line of the slots' statistics serves several
  for (int begin = output_begin; begin < output_end; begin += kBlock) {
    const int count = std::min(kBlock, output_end - begin);
    double mean[kBlock] = {};
    double squares[kBlock] = {};
    double seen = 0;
    for (int slot = 0; slot < slots; ++slot) {
      const double added = static_cast<double>(voxels[slot]);
      if (added == 0) continue;
      const double total = seen + added;
      const PartialStatistics* partial = statistics + std::ptrdiff_t{slot} * outputs + begin;
      for (int i = 0; i < count; ++i) {
        const double difference = double{partial[i].mean} - mean[i];
        mean[i] += difference * (added / total);
        squares[i] += double{partial[i].squared_deviations} + difference * difference * (seen * (added / total));
      }
      seen = total;
    }
    for (int i = 0; i < count; ++i) {
      const double variance = seen > 0 ? squares[i] / seen : 0.0;
      const double factor = double{norm_weight[begin + i]} / std::sqrt(variance + double{epsilon});
      scale[begin + i] = static_cast<float>(factor);
      offset[begin + i] = static_cast<float>(double{norm_bias[begin + i]} - mean[i] * factor);
    }
  }
}

}  // namespace e2enet::kernels
#endif  // HWY_ONCE
