// From a frame's bytes in a file, compressed or not, to stored numbers.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "image/formats/dicom/dicom_series.h"

namespace e2enet::imaging::dicom {

// Reads frames of a series' files one at a time; memory is that of one frame, compressed and not (a deflated file is
// inflated as a whole and held until another file is read). One thread at a time.
class FrameDecoder {
 public:
  explicit FrameDecoder(const Series& series);
  ~FrameDecoder();

  // The frame's stored numbers, rows * columns of bits_allocated bits in this machine's byte order. Throws Error
  // (cannot_read, invalid_image, out_of_memory) naming the file and the tag, also where the file is no longer the one
  // that was scanned.
  void decode(const Frame& frame, std::vector<unsigned char>& stored);

 private:
  struct OpenFile;

  const Series& series_;
  std::unique_ptr<OpenFile> open_;
};

// Stored numbers to values: the bits that are stored, with sign; inverted where black is white; slope and intercept.
void to_values(const PixelFormat& format, const unsigned char* stored, std::int64_t count, float* out);

}  // namespace e2enet::imaging::dicom
