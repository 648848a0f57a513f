// Where the voxels of one channel come from: memory or a file, slice by slice.
#pragma once

#include <cstdint>
#include <string>

#include "e2enet/volume.h"

namespace e2enet::imaging {

// Slices are planes along the slowest axis of the file (d = k), each shape()[1] * shape()[2] float32 values.
class SliceSource {
 public:
  virtual ~SliceSource() = default;
  virtual const Shape& shape() const = 0;
  // The file's, where there is one; for messages.
  virtual std::string name() const { return ""; }

  // Slices [begin, end) as they lie in memory, or null when they must be read. Any number of threads may call it.
  virtual const float* view(std::int64_t begin, std::int64_t end) = 0;

  // Copies slices [begin, end) to `out`. Ascending calls are cheap; going back may mean reading from the start again.
  virtual void read(std::int64_t begin, std::int64_t end, float* out) = 0;

  // From keep() to forget() all that is read stays in memory, in the data type in which it is stored, so that nothing
  // is read or unpacked twice. Nothing to do where voxels are in memory anyway. keep() may throw Error (out_of_memory).
  virtual void keep() {}
  virtual void forget() {}

  std::int64_t slice_size() const { return shape()[1] * shape()[2]; }
};

}  // namespace e2enet::imaging
