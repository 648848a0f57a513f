#include "image/formats/dicom/dicom_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/checked_size.h"

namespace e2enet::imaging::dicom {
namespace {

std::string joined(const std::vector<std::string>& paths) {
  if (paths.empty()) return "DICOM";
  return paths.size() == 1 ? paths[0] : paths[0] + " and " + std::to_string(paths.size() - 1) + " more";
}

}  // namespace

DicomReader::DicomReader(const std::vector<std::string>& paths, const DicomOptions& options)
    : DicomReader(choose(scan(paths), options.series, joined(paths)), joined(paths), options) {}

DicomReader::DicomReader(Series series, const std::string& where, const DicomOptions& options)
    : series_(std::move(series)), name_(where), stack_(make_stack(series_, {options.allow_uneven})) {
  name_ += ", series " + (series_.number.empty() ? series_.uid : series_.number);
  if (!series_.description.empty()) name_ += " '" + series_.description + "'";
  int bits = 0;
  for (const Frame& frame : series_.frames) bits = std::max(bits, frame.format.bits_allocated);
  voxel_bytes_ = bits / 8;
  nifti_header_ = NiftiHeader::from_geometry(stack_.geometry);
  const PixelFormat first = series_.frames[0].format;
  const bool one_rescale = std::all_of(series_.frames.begin(), series_.frames.end(), [&](const Frame& frame) {
    return frame.format.slope == first.slope && frame.format.intercept == first.intercept;
  });
  for (Frame& frame : series_.frames) frame.format.in_float32 = !one_rescale;
  decoder_ = std::make_unique<FrameDecoder>(series_);
}

DicomReader::~DicomReader() = default;

std::int64_t DicomReader::open_bytes() const {
  // Of one slice: what is compressed, what a decoder makes of it (JPEG 2000: several numbers of 32 bits a pixel), and
  // the stored numbers. A deflated file is there as a whole.
  constexpr std::int64_t kBytesOfPixel = 24, kRest = std::int64_t{4} << 20;
  const bool deflated =
      std::any_of(series_.files.begin(), series_.files.end(), [](const SourceFile& file) { return file.deflated; });
  return kRest + kBytesOfPixel * slice_size() + (deflated ? stored_bytes() : 0);
}

std::vector<std::string> DicomReader::files() const {
  std::vector<std::string> paths;
  for (const SourceFile& file : series_.files) paths.push_back(file.path);
  return paths;
}

void DicomReader::read(std::int64_t begin, std::int64_t end, float* out) {
  for (std::int64_t d = begin; d < end; ++d, out += slice_size()) {
    const Frame& one = frame(d);
    if (kept_.size() > 0) {
      unsigned char* kept = reinterpret_cast<unsigned char*>(kept_.data()) + d * slice_size() * voxel_bytes_;
      if (!kept_slices_[static_cast<std::size_t>(d)]) {
        decoder_->decode(one, buffer_);
        std::memcpy(kept, buffer_.data(), buffer_.size());
        kept_slices_[static_cast<std::size_t>(d)] = true;
      }
      to_values(one.format, kept, slice_size(), out);
    } else {
      decoder_->decode(one, buffer_);
      to_values(one.format, buffer_.data(), slice_size(), out);
    }
  }
}

void DicomReader::keep() {
  if (kept_.size() > 0) return;
  kept_ = AlignedBuffer(checked_size(name_.c_str(), stack_.geometry.voxels(), voxel_bytes_), name_.c_str());
  kept_slices_.assign(static_cast<std::size_t>(shape()[0]), false);
}

void DicomReader::forget() {
  kept_ = AlignedBuffer();
  kept_slices_.clear();
}

}  // namespace e2enet::imaging::dicom
