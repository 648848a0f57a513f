// Resampling a channel slice by slice.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "e2enet/volume.h"
#include "image/slice_source.h"
#include "prepare/axis_operator.h"

namespace e2enet::imaging {

// Slices that are read, resampled and worked on together, so that an input slice is loaded from memory once for all of
// them.
constexpr std::int64_t kSlicesTogether = 8;

// What to do with a channel, in the frame of its source (that of the file).
struct ResamplePlan {
  Box box;                            // the part of the source that counts; NaN in it becomes 0
  std::array<AxisOperator, 3> along;  // for D, H, W of the box
  // Results are brought into [low, high]: one range for all (clip_axis < 0), or one for each output plane across
  // clip_axis.
  int clip_axis = -1;
  std::vector<double> low, high;

  Shape output_shape() const { return {along[0].output_size, along[1].output_size, along[2].output_size}; }
};

// Computes output slices of a plan from a source. Each sample is one fixed sum (W, then H, then D, in double), so the
// bits depend neither on the order of calls nor on threads. Holds the few input slices under the window of D.
//
//   SliceResampler resampler(source, plan, threads);
//   for (std::int64_t d = 0; d < plan.output_shape()[0]; ++d) resampler.read(d, d + 1, slice);
// What is known of a resampling before there is a plan for it, in the frame of its source.
struct ResamplingSizes {
  Shape source{0, 0, 0};     // a slice of it is read as a whole
  Shape region{0, 0, 0};     // the part of it that is resampled, at the most
  Shape output{0, 0, 0};     // what becomes of that
  double spacing_ratio = 1;  // of output slices and input slices
  bool separate = false;     // slices are not interpolated between
};

class SliceResampler {
 public:
  // `source` and `plan` must outlive this.
  SliceResampler(SliceSource& source, const ResamplePlan& plan, int threads);

  // Output slices [begin, end), contiguous. Ascending calls read the source once; going back starts over.
  void read(std::int64_t begin, std::int64_t end, float* out);

  // What an instance allocates. `in_memory`: the source can be viewed and needs no staging.
  static std::int64_t working_bytes(const ResamplePlan& plan, const Shape& source_shape, bool in_memory, int threads);
  // The same at the most for any crop of the region.
  static double working_bytes(const ResamplingSizes& sizes, int threads);

 private:
  void need_input(std::int64_t begin, std::int64_t end);
  void resample_in_plane(const float* slice, double* out, double* scratch) const;
  double* ring_slice(std::int64_t k);

  SliceSource& source_;
  const ResamplePlan& plan_;
  int threads_;
  std::int64_t row_stride_;                     // doubles of a row in the ring
  std::int64_t ring_slices_;                    // capacity
  std::int64_t ring_begin_ = 0, ring_end_ = 0;  // box slices held
  std::int64_t scratch_size_;                   // doubles a thread
  AlignedBuffer ring_, scratch_, staging_;
};

}  // namespace e2enet::imaging
