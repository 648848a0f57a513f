// The same a few slices at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/aligned_buffer.h"
#include "image/slice_source.h"
#include "prepare/mask.h"
#include "prepare/preprocess_plan.h"
#include "prepare/survey.h"

namespace e2enet::imaging {

// The network's input a few slices at a time, for a volume that is too large to be held as a whole: the same values as
// preprocess() gives, bit for bit. Possible where the network's slices are the file's and in the file's order.
class PreparedWindow {
 public:
  static bool possible(const AxisMap& frame) { return frame.source[0] == 0 && !frame.flip[0]; }

  // Makes a pass over the image for each channel whose normalisation needs statistics of its own. Holds up to
  // `capacity` slices. `plan` and the channels must outlive this; `survey.mask` is taken over. Throws Error.
  PreparedWindow(const PreprocessPlan& plan, const std::vector<SliceSource*>& channels, Survey& survey,
                 std::int64_t capacity, int threads, const PassOptions& pass);
  ~PreparedWindow();

  // Slices [begin, end) of all channels, no more than the capacity. Neither bound may be below that of an earlier call.
  // Slice begin of channel 0 is where the result points to; it is valid until the next call.
  const float* slices(std::int64_t begin, std::int64_t end);
  std::int64_t channel_stride() const { return capacity_ * plan_.shape()[1] * plan_.shape()[2]; }

 private:
  struct Channel;
  void prepare(std::int64_t begin, std::int64_t count);

  const PreprocessPlan& plan_;
  std::int64_t capacity_;
  int threads_;
  std::vector<std::unique_ptr<Channel>> channels_;
  std::optional<MaskResampler> mask_;
  AlignedBuffer block_, block_mask_;  // slices in the file's frame
  AlignedBuffer window_;              // (channels, capacity, H, W)
  std::int64_t begin_ = 0, end_ = 0;  // slices in the window
};

}  // namespace e2enet::imaging
