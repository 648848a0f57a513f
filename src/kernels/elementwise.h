// Operations that touch each voxel once: layout changes, pooling, the head, softmax, statistics.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/convolution.h"

namespace e2enet::kernels {

// A patch in the caller's memory, one float32 per voxel, at any stride (negative where a mirrored axis is read
// backwards). Voxel (c, d, h, w) is data[origin + c*channel_stride + d*stride[0] + h*stride[1] + w*stride[2]] inside
// [begin, end) and 0 outside. The origin may lie outside of the array: where a patch reaches beyond an image, its first
// voxel has no place in memory.
struct PatchView {
  const float* data = nullptr;
  std::ptrdiff_t origin = 0;
  std::ptrdiff_t channel_stride = 0;
  std::ptrdiff_t stride[3] = {0, 0, 0};
  int begin[3] = {0, 0, 0};
  int end[3] = {0, 0, 0};
};

// Copies rows [row_begin, row_end) of all channels of a patch into a feature.
void load_patch_rows(const PatchView& patch, const Feature& feature, int row_begin, int row_end);

// Copies rows of a feature, activated, into a caller's float32 array in (C, D, H, W) order.
void store_activated_rows(const Source& source, float* values, int row_begin, int row_end);

// Downward flow where it could not be taken by the convolution that wrote the feature: max pooling of the activated
// source, kernel = stride, output rows [row_begin, row_end). Extents are floor(input / stride). The output is
// activated.
void max_pool_rows(const Source& source, const Feature& output, Stride stride, int row_begin, int row_end);

// Head: logits of one row, as [classes][W][D], from activated features. weight is (classes, channels).
void head_row(const Source& source, const float* weight, int classes, int row, float* logits);

// In place over [classes][voxels]: softmax over classes, or a sigmoid of each.
void softmax(float* values, int classes, std::ptrdiff_t voxels);
void sigmoid(float* values, int classes, std::ptrdiff_t voxels);

// Instance norm as scale and offset: merges the slots' statistics of channel o in slot order, in double (Chan et al.'s
// pairwise update), then scale = weight / sqrt(variance + epsilon), offset = bias - mean * scale; biased variance.
// `voxels[slot]` is the count behind each slot. Does outputs [output_begin, output_end), which a caller may share out.
void finish_instance_norm(const PartialStatistics* statistics, const std::int64_t* voxels, int slots, int outputs,
                          int output_begin, int output_end, const float* norm_weight, const float* norm_bias,
                          float epsilon, float* scale, float* offset);

}  // namespace e2enet::kernels
