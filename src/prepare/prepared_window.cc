#include "prepare/prepared_window.h"

#include <algorithm>
#include <cstring>
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

// What one channel needs to give more slices.
struct PreparedWindow::Channel {
  Channel(SliceSource& source, ResamplePlan resampling, int threads)
      : plan(std::move(resampling)), resampler(source, plan, threads) {}
  ResamplePlan plan;
  SliceResampler resampler;
  std::optional<Normalizer> normalizer;
};

PreparedWindow::~PreparedWindow() = default;

PreparedWindow::PreparedWindow(const PreprocessPlan& plan, const std::vector<SliceSource*>& channels, Survey& survey,
                               std::int64_t capacity, int threads, const PassOptions& pass)
    : plan_(plan), capacity_(capacity), threads_(threads > 0 ? threads : available_threads()) {
  require_channels(plan, channels);
  if (!possible(plan.frame())) {
    throw Error(ErrorCode::internal, "a window of prepared slices was asked for across the slices of the file");
  }
  if (plan.uses_mask()) {
    mask_.emplace(std::move(survey.mask.value()), plan.mask_operators(), plan.frame());
    survey.mask.reset();
  }
  const std::int64_t slice_size = plan.shape()[1] * plan.shape()[2];
  block_ =
      AlignedBuffer(checked_size("resampled slices", kSlicesTogether, slice_size, sizeof(float)), "resampled slices");
  block_mask_ =
      AlignedBuffer(mask_ ? checked_size("slices of the mask", kSlicesTogether, slice_size) : 0, "slices of the mask");
  window_ =
      AlignedBuffer(checked_size("slices of the resampled image", plan.channels(), channel_stride(), sizeof(float)),
                    "slices of the resampled image");
  std::int64_t passes = 0, passes_done = 0;
  for (const model::Normalization& normalization : plan.configuration().normalization) {
    passes += ChannelStatistics(normalization).needed();
  }
  for (int c = 0; c < plan.channels(); ++c) {
    const model::Normalization& normalization = plan.configuration().normalization[index(c)];
    channels_.push_back(std::make_unique<Channel>(*channels[index(c)], plan.channel_plan(survey, c), threads_));
    ChannelStatistics statistics(normalization);
    if (statistics.needed()) {
      // A resampler of its own: it can read ahead, and goes with the pass.
      const ResamplePlan& resampling = channels_.back()->plan;
      std::optional<ReadAhead> ahead;
      if (pass.read_ahead) ahead.emplace(*channels[index(c)], resampling.box.begin[0], resampling.box.end[0]);
      SliceSource& source = ahead ? *ahead : *channels[index(c)];
      SliceResampler resampler(source, resampling, threads_);
      const Shape shape = resampling.output_shape();
      const auto progress = [&](std::int64_t done) {
        if (pass.progress) pass.progress(passes_done * shape[0] + done, passes * shape[0]);
      };
      statistics =
          for_each_slice(resampler, normalization, mask_ ? &*mask_ : nullptr, shape,
                         reinterpret_cast<float*>(block_.data()), reinterpret_cast<std::uint8_t*>(block_mask_.data()),
                         threads_, progress, [](std::int64_t, const float*, const std::uint8_t*) {});
      ++passes_done;
    }
    channels_.back()->normalizer.emplace(normalization, statistics, c);
  }
}

const float* PreparedWindow::slices(std::int64_t begin, std::int64_t end) {
  if (begin < begin_ || end < end_ || end - begin > capacity_) {
    throw Error(ErrorCode::internal, "slices of the resampled image: expected ascending ones, no more than " +
                                         std::to_string(capacity_) + ", found " + std::to_string(begin) + " to " +
                                         std::to_string(end));
  }
  float* window = reinterpret_cast<float*>(window_.data());
  const std::int64_t slice_size = plan_.shape()[1] * plan_.shape()[2];
  const std::int64_t kept = std::max<std::int64_t>(end_ - begin, 0);
  for (int c = 0; kept > 0 && begin > begin_ && c < plan_.channels(); ++c) {
    float* channel = window + c * channel_stride();
    std::memmove(channel, channel + (begin - begin_) * slice_size, index(kept * slice_size) * sizeof(float));
  }
  begin_ = begin;
  end_ = begin + kept;
  while (end_ < end) {
    const std::int64_t count = std::min(kSlicesTogether, end - end_);
    prepare(end_, count);
    end_ += count;
  }
  return window;
}

void PreparedWindow::prepare(std::int64_t begin, std::int64_t count) {
  const Shape& shape = plan_.shape();
  const std::int64_t slice_size = shape[1] * shape[2];
  // The slices of the window are a volume of their own.
  const Placement placement(plan_.frame(), {capacity_, shape[1], shape[2]}, {0, 0, 0}, {capacity_, shape[1], shape[2]});
  float* block = reinterpret_cast<float*>(block_.data());
  std::uint8_t* block_mask = reinterpret_cast<std::uint8_t*>(block_mask_.data());
  const int team = std::min<int>(threads_, static_cast<int>(count));
  if (mask_) {
    run_team(team, [&](const Worker& worker) {
      worker.for_each(count, [&](std::int64_t i) { mask_->slice(begin + i, block_mask + i * slice_size); });
    });
  }
  for (int c = 0; c < plan_.channels(); ++c) {
    Channel& channel = *channels_[index(c)];
    channel.resampler.read(begin, begin + count, block);
    float* window = reinterpret_cast<float*>(window_.data()) + c * channel_stride();
    run_team(team, [&](const Worker& worker) {
      worker.for_each(count, [&](std::int64_t i) {
        float* values = block + i * slice_size;
        channel.normalizer->apply(values, mask_ ? block_mask + i * slice_size : nullptr, slice_size);
        placement.place(begin - begin_ + i, values, window);
      });
    });
  }
}

}  // namespace e2enet::imaging
