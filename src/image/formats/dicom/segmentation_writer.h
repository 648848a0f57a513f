// Writes labels as a DICOM segmentation (SEG) on the very slices that they were found on.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "image/formats/dicom/dicom_series.h"
#include "image/formats/dicom/dicom_stack.h"
#include "image/formats/label_file.h"

namespace e2enet::imaging::dicom {

struct Segment {
  int label = 1;  // its value in the volume
  std::string name;
  LabelMeaning meaning;
};

struct SegmentationDetails {
  std::vector<Segment> segments;
  std::string algorithm_name = "e2enet";
  std::string software_version;
  std::string series_description = "Segmentation by e2enet";
};

// The colour as the standard wants it: CIELab of the D50 white, each of L, a, b scaled to 16 bits (PS3.3, C.10.7.1.1).
std::array<std::uint16_t, 3> cielab(const std::array<std::uint8_t, 3>& srgb);

// Takes the labels of a stack, slice after slice in the stack's order, in any number of calls. The file appears under
// its name at commit(). Kind: BINARY; one segment a label, all of them listed; frames only where a label is (one empty
// frame where there is none at all, since no file may be without). Patient, study and frame of reference are the
// source's, and so are date and time: nothing depends on when it is written, and the same call gives the same bytes.
// Until commit() the frames wait on disk, in a file without a name beside it: memory is that of a slice and of a few
// bytes a frame.
//
// Throws Error: cannot_write, invalid_argument (a segment without a name, or one that a DICOM file cannot hold),
// invalid_image (source attributes that a segmentation cannot be made of), internal (a label that is no segment).
class SegmentationWriter {
 public:
  // What an instance takes for slices of this size and number and so many segments, at the most.
  static double memory_bytes(const Shape& shape, std::size_t segments);

  SegmentationWriter(const std::string& path, const Series& series, const Stack& stack, SegmentationDetails details);
  ~SegmentationWriter();
  SegmentationWriter(SegmentationWriter&&) noexcept;

  void append(const std::uint16_t* labels, std::int64_t count);
  void append(const std::uint8_t* labels, std::int64_t count);
  // All voxels must have been appended.
  void commit();

 private:
  struct Work;
  std::unique_ptr<Work> work_;
};

}  // namespace e2enet::imaging::dicom
