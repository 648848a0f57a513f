// A file of labels that is being written, whatever the format.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "image/formats/nifti/nifti_header.h"

namespace e2enet::imaging {

class ChannelFile;

// What a label means to others: a concept of a coding scheme, as SNOMED's (SCT).
struct LabelCode {
  std::string value, scheme, meaning;
};
struct LabelMeaning {
  std::array<std::uint8_t, 3> color{255, 255, 255};  // sRGB
  LabelCode category{"85756007", "SCT", "Tissue"};
  LabelCode type{"113343008", "SCT", "Organ"};
};

// What a format may need to know of labels before the first of them comes.
struct LabelFileContents {
  const NiftiHeader* like = nullptr;       // shape and place of the voxels
  const ChannelFile* reference = nullptr;  // the image's first channel; null where the image is no file
  int largest_label = 0;
  std::map<int, std::string> names;  // label value -> name; 0 is the background
  int threads = 1;
  // Of DICOM segmentations.
  std::map<int, LabelMeaning> meanings;
  std::string algorithm_name;
  // A series on whose slices the labels belong where the image is none itself: a folder or file, and which series in
  // it.
  std::string dicom_reference, dicom_reference_series;
};

// The file appears under its name at commit() and not before; without it nothing is left behind.
class LabelFile {
 public:
  virtual ~LabelFile() = default;
  // The next voxels in the order of the file (D, H, W), whole slices.
  virtual void append(const std::uint16_t* labels, std::int64_t count) = 0;
  // All voxels must have been appended.
  virtual void commit() = 0;
};

}  // namespace e2enet::imaging
