// Reads the next slices of an image on a thread of its own while the last ones are worked on.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>

#include "base/aligned_buffer.h"
#include "image/slice_source.h"

namespace e2enet::imaging {

// A source for one pass over slices [begin, end) of another, which it reads in blocks of kBlockSlices, at most kBlocks
// of them ahead. What comes out is what the other source would have given; only the time differs. The other source
// must not be used while this exists, except for view(): where it can be viewed, this reads nothing.
//
//   ReadAhead ahead(reader, 0, reader.shape()[0]);
//   for (std::int64_t d = 0; d < reader.shape()[0]; d += 8) ahead.read(d, d + 8, slices);
class ReadAhead : public SliceSource {
 public:
  // Throws Error: out_of_memory.
  ReadAhead(SliceSource& source, std::int64_t begin, std::int64_t end);
  ~ReadAhead() override;
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  const Shape& shape() const override { return source_.shape(); }
  const float* view(std::int64_t begin, std::int64_t end) override { return source_.view(begin, end); }

  // No call may begin before the end of the last one; slices in between are passed over. Throws what the other source's
  // read() throws.
  void read(std::int64_t begin, std::int64_t end, float* out) override;

  static constexpr std::int64_t kBlockSlices = 8;
  static constexpr std::int64_t kBlocks = 2;

  // What an instance allocates.
  static std::int64_t working_bytes(const Shape& shape) {
    return kBlocks * kBlockSlices * shape[1] * shape[2] * static_cast<std::int64_t>(sizeof(float));
  }

 private:
  void fill_blocks();
  std::int64_t slices_of(std::int64_t block) const;
  float* block_data(std::int64_t block);

  SliceSource& source_;
  std::int64_t begin_, end_;
  AlignedBuffer blocks_;
  std::int64_t next_slice_;  // that read() must begin with

  std::mutex mutex_;
  std::condition_variable changed_;
  std::int64_t filled_ = 0, emptied_ = 0;  // blocks so far
  bool stop_ = false;
  std::exception_ptr problem_;
  std::thread thread_;
};

}  // namespace e2enet::imaging
