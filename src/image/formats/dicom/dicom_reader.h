// Reads a DICOM series as a volume, slice by slice.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "image/formats/channel_file.h"
#include "image/formats/dicom/dicom_series.h"
#include "image/formats/dicom/dicom_stack.h"
#include "image/formats/dicom/frame_decoder.h"

namespace e2enet::imaging::dicom {

struct DicomOptions {
  std::string series;         // a UID or number; empty: the only one that is a volume
  bool allow_uneven = false;  // slices at uneven distances (Stack::uneven)
};

// The slices of a series, ascending along their normal; each is read and decoded when asked for. Values are float32,
// rescaled. Memory is that of a few slices, whatever the files claim. One thread at a time.
//
//   DicomReader reader({"scan"});
//   std::vector<float> slice(reader.slice_size());
//   for (std::int64_t d = 0; d < reader.shape()[0]; ++d) reader.read(d, d + 1, slice.data());
//
// Throws Error: cannot_read (missing, cut short, damaged) or invalid_image (not one plain stack of slices; a file that
// changed since it was looked at), naming files and tags.
class DicomReader : public ChannelFile {
 public:
  // `paths` are folders or files, all looked through.
  explicit DicomReader(const std::vector<std::string>& paths, const DicomOptions& options = {});
  // A series that a scan found; `where` names it in messages.
  DicomReader(Series series, const std::string& where, const DicomOptions& options = {});
  ~DicomReader() override;

  const Series& series() const { return series_; }
  const Stack& stack() const { return stack_; }
  // The frame that slice `d` comes from.
  const Frame& frame(std::int64_t d) const { return series_.frames[stack_.order[static_cast<std::size_t>(d)]]; }
  const Geometry& geometry() const override { return stack_.geometry; }
  std::string matrix() const override { return "Image Position and Orientation (Patient)"; }
  const std::vector<Remark>& remarks() const override { return stack_.remarks; }
  std::int64_t stored_bytes() const override { return stack_.geometry.voxels() * voxel_bytes_; }
  std::int64_t open_bytes() const override;
  const NiftiHeader& nifti_header() const override { return nifti_header_; }
  const Shape& shape() const override { return stack_.geometry.shape; }
  std::vector<std::string> files() const override;
  bool uneven_slices() const override { return stack_.uneven; }
  // "scan, series 3 'T1'"
  std::string name() const override { return name_; }

  const float* view(std::int64_t, std::int64_t) override { return nullptr; }
  void read(std::int64_t begin, std::int64_t end, float* out) override;
  void keep() override;
  void forget() override;

 private:
  Series series_;
  std::string name_;
  Stack stack_;
  std::unique_ptr<FrameDecoder> decoder_;
  NiftiHeader nifti_header_;
  std::int64_t voxel_bytes_ = 2;  // between keep() and forget()
  std::vector<unsigned char> buffer_;
  AlignedBuffer kept_;  // numbers as stored, between keep() and forget()
  std::vector<bool> kept_slices_;
};

}  // namespace e2enet::imaging::dicom
