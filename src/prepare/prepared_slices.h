// What a whole image and a window of it have in common: the slices of a channel, resampled in the order of the file,
// and where each belongs in an array of the network's frame.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "base/parallel.h"
#include "image/orientation.h"
#include "prepare/mask.h"
#include "prepare/normalization.h"
#include "prepare/preprocess_plan.h"
#include "prepare/resample.h"

namespace e2enet::imaging {

// Puts a slice of the file's frame to where it belongs in an array of the network's frame.
class Placement {
 public:
  // `before` and `shape` describe the array; `size` is the volume in it, both in the network's frame.
  Placement(const AxisMap& frame, const Shape& size, const Shape& before, const Shape& shape) {
    const std::int64_t strides[3] = {shape[1] * shape[2], shape[2], 1};
    for (std::size_t a = 0; a < 3; ++a) {
      const std::size_t f = static_cast<std::size_t>(frame.source[a]);
      origin_ += (before[a] + (frame.flip[a] ? size[a] - 1 : 0)) * strides[a];
      stride_[f] = frame.flip[a] ? -strides[a] : strides[a];
      size_[f] = size[a];
    }
  }
  template <typename T>
  void place(std::int64_t d, const T* slice, T* array) const {
    for (std::int64_t h = 0; h < size_[1]; ++h) {
      T* to = array + origin_ + d * stride_[0] + h * stride_[1];
      const T* from = slice + h * size_[2];
      if (stride_[2] == 1) {
        std::memcpy(to, from, static_cast<std::size_t>(size_[2]) * sizeof(T));
      } else {
        for (std::int64_t w = 0; w < size_[2]; ++w) to[w * stride_[2]] = from[w];
      }
    }
  }

 private:
  std::int64_t origin_ = 0;
  std::int64_t stride_[3] = {0, 0, 0};
  Shape size_{0, 0, 0};  // in the file's frame
};

// Resamples the slices of one channel in the order of the file, some at a time. use(d, values, inside) sees each slice
// in the file's frame, on any thread; `inside` is null without a mask. `block` and `block_mask` hold kSlicesTogether
// slices.
template <typename Use>
ChannelStatistics for_each_slice(SliceResampler& resampler, const model::Normalization& normalization,
                                 const MaskResampler* mask, const Shape& shape, float* block, std::uint8_t* block_mask,
                                 int threads, const std::function<void(std::int64_t done)>& progress, const Use& use) {
  const std::int64_t slice_size = shape[1] * shape[2];
  ChannelStatistics statistics(normalization);
  for (std::int64_t d = 0; d < shape[0]; d += kSlicesTogether) {
    const std::int64_t count = std::min(kSlicesTogether, shape[0] - d);
    resampler.read(d, d + count, block);
    ChannelStatistics::Slice slices[kSlicesTogether];
    run_team(std::min<int>(threads, static_cast<int>(count)), [&](const Worker& worker) {
      worker.for_each(count, [&](std::int64_t i) {
        const float* values = block + i * slice_size;
        std::uint8_t* inside = mask ? block_mask + i * slice_size : nullptr;
        if (mask) mask->slice(d + i, inside);
        if (statistics.needed()) slices[i] = statistics.of_slice(values, inside, slice_size);
        use(d + i, values, inside);
      });
    });
    for (std::int64_t i = 0; i < count; ++i) statistics.add(slices[i]);
    progress(d + count);
  }
  return statistics;
}

// Throws Error (invalid_image) where an image has not the model's number of channels.
// Of the slices that are resampled at a time, with their mask, where a slice has `voxels` of them.
inline double block_bytes(double voxels, bool mask) {
  return double(kSlicesTogether) * voxels * double(sizeof(float) + (mask ? 1 : 0));
}

void require_channels(const PreprocessPlan& plan, const std::vector<SliceSource*>& channels);

}  // namespace e2enet::imaging
