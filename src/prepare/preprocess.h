// A whole image as the network sees it.
#pragma once

#include <array>
#include <vector>

#include "base/aligned_buffer.h"
#include "image/slice_source.h"
#include "prepare/preprocess_plan.h"
#include "prepare/survey.h"

namespace e2enet::imaging {

// Zeros around a volume that is smaller than the patch.
struct Padding {
  Shape before{0, 0, 0};
  Shape padded_shape{0, 0, 0};
};
Padding padding_for_patch(const Shape& shape, const std::array<int, 3>& patch);

// The network's input for a whole volume.
struct Preprocessed {
  int channels = 0;
  Shape shape{0, 0, 0};  // without padding
  Padding padding;
  AlignedBuffer voxels;  // (channels, padding.padded_shape)

  float* channel(int c) {
    return reinterpret_cast<float*>(voxels.data()) +
           c * padding.padded_shape[0] * padding.padded_shape[1] * padding.padded_shape[2];
  }
  const float* channel(int c) const { return const_cast<Preprocessed*>(this)->channel(c); }
};

// Allocates the result and a few slices of working memory. `survey` is what survey_image() found with
// survey_options(); `patch` (1, 1, 1) pads nothing. `survey.mask` is taken over.
Preprocessed preprocess(const PreprocessPlan& plan, const std::vector<SliceSource*>& channels, Survey& survey,
                        const std::array<int, 3>& patch, int threads, const PassOptions& pass = {});

}  // namespace e2enet::imaging
