#include "prepare/preprocess.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/checked_size.h"
#include "base/parallel.h"
#include "e2enet/error.h"
#include "image/formats/read_ahead.h"
#include "prepare/normalization.h"
#include "prepare/prepared_slices.h"

namespace e2enet::imaging {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

Padding padding_for_patch(const Shape& shape, const std::array<int, 3>& patch) {
  Padding padding;
  for (std::size_t a = 0; a < 3; ++a) {
    const std::int64_t missing = std::max<std::int64_t>(0, patch[a] - shape[a]);
    padding.before[a] = missing / 2;
    padding.padded_shape[a] = shape[a] + missing;
  }
  return padding;
}

void require_channels(const PreprocessPlan& plan, const std::vector<SliceSource*>& channels) {
  if (static_cast<int>(channels.size()) == plan.channels()) return;
  throw Error(ErrorCode::invalid_image, "channels: expected " + std::to_string(plan.channels()) +
                                            " as the model, found " + std::to_string(channels.size()));
}

Preprocessed preprocess(const PreprocessPlan& plan, const std::vector<SliceSource*>& channels, Survey& survey,
                        const std::array<int, 3>& patch, int threads, const PassOptions& pass) {
  if (threads <= 0) threads = available_threads();
  require_channels(plan, channels);
  Preprocessed result;
  result.channels = plan.channels();
  result.shape = plan.shape();
  result.padding = padding_for_patch(plan.shape(), patch);
  const Shape& padded = result.padding.padded_shape;
  const std::int64_t padded_voxels = padded[0] * padded[1] * padded[2];
  result.voxels = AlignedBuffer(checked_size("the resampled image", padded_voxels, result.channels, sizeof(float)),
                                "the resampled image");

  const Placement in_result(plan.frame(), plan.shape(), result.padding.before, padded);
  const Placement in_mask(plan.frame(), plan.shape(), {0, 0, 0}, plan.shape());

  std::optional<MaskResampler> mask;
  AlignedBuffer mask_voxels;  // in the network's frame, unpadded
  if (plan.uses_mask()) {
    mask.emplace(std::move(survey.mask.value()), plan.mask_operators(), plan.frame());
    survey.mask.reset();
    mask_voxels =
        AlignedBuffer(checked_size("the mask", plan.shape()[0], plan.shape()[1], plan.shape()[2]), "the mask");
  }
  std::uint8_t* whole_mask = reinterpret_cast<std::uint8_t*>(mask_voxels.data());

  for (int c = 0; c < result.channels; ++c) {
    const model::Normalization& normalization = plan.configuration().normalization[index(c)];
    const ResamplePlan channel_plan = plan.channel_plan(survey, c);
    const Shape shape = channel_plan.output_shape();  // in the file's frame
    const std::int64_t slice_size = shape[1] * shape[2];
    std::optional<ReadAhead> ahead;
    if (pass.read_ahead) ahead.emplace(*channels[index(c)], channel_plan.box.begin[0], channel_plan.box.end[0]);
    SliceSource& source = ahead ? *ahead : *channels[index(c)];
    SliceResampler resampler(source, channel_plan, threads);
    AlignedBuffer block(index(kSlicesTogether * slice_size) * sizeof(float), "resampled slices");
    AlignedBuffer block_mask(mask ? index(kSlicesTogether * slice_size) : 0, "slices of the mask");
    const auto progress = [&](std::int64_t done) {
      if (pass.progress) pass.progress(c * shape[0] + done, result.channels * shape[0]);
    };
    const ChannelStatistics statistics =
        for_each_slice(resampler, normalization, mask ? &*mask : nullptr, shape, reinterpret_cast<float*>(block.data()),
                       reinterpret_cast<std::uint8_t*>(block_mask.data()), threads, progress,
                       [&](std::int64_t d, const float* values, const std::uint8_t* inside) {
                         if (inside && c == 0) in_mask.place(d, inside, whole_mask);
                         in_result.place(d, values, result.channel(c));
                       });
    const Normalizer normalizer(normalization, statistics, c);
    const Shape& size = plan.shape();
    run_team(threads, [&](const Worker& worker) {
      worker.for_each(size[0], [&](std::int64_t d) {
        for (std::int64_t h = 0; h < size[1]; ++h) {
          float* row = result.channel(c) +
                       ((d + result.padding.before[0]) * padded[1] + h + result.padding.before[1]) * padded[2] +
                       result.padding.before[2];
          normalizer.apply(row, mask ? whole_mask + (d * size[1] + h) * size[2] : nullptr, size[2]);
        }
      });
    });
  }
  return result;
}

}  // namespace e2enet::imaging
