// Reads NIfTI images: .nii, .hdr/.img, each also gzipped, whole or slice by slice.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "e2enet/volume.h"
#include "image/formats/channel_file.h"
#include "image/formats/nifti/nifti_header.h"

namespace e2enet::imaging {

// An open image. Memory is a buffer of a few MiB, whatever the header claims: voxels are read when asked for. Values
// are scaled (scl_slope, scl_inter) and converted to float32. One thread at a time.
//
//   ImageReader reader("scan.nii.gz");
//   std::vector<float> slice(reader.slice_size());
//   for (std::int64_t d = 0; d < reader.shape()[0]; ++d) reader.read(d, d + 1, slice.data());
//
// Throws Error: cannot_read (missing, cut short, damaged) or invalid_image (a header that breaks the format, a file
// that changed since it was opened), naming the file and field.
class ImageReader : public ChannelFile {
 public:
  // `path` names a .nii, .hdr or .img file, or either with .gz; the partner of a pair is found beside it. What is
  // gzipped is told by content, not by name.
  explicit ImageReader(const std::string& path);
  ~ImageReader() override;

  const std::string& path() const { return path_; }
  const NiftiHeader& header() const { return header_; }
  const Geometry& geometry() const override { return geometry_; }
  std::string matrix() const override { return matrix_name(header_.matrix_source()); }
  const std::vector<Remark>& remarks() const override { return header_.remarks; }
  std::int64_t stored_bytes() const override { return header_.data_bytes(); }
  std::int64_t open_bytes() const override { return std::int64_t{4} << 20; }
  const NiftiHeader& nifti_header() const override { return header_; }
  const Shape& shape() const override { return header_.shape; }
  std::string name() const override { return path_; }
  const float* view(std::int64_t, std::int64_t) override { return nullptr; }

  // Reading the last slice also checks what follows it: a gzip stream's checksum. Every call checks that the file's
  // size and modification time are those of when it was opened.
  void read(std::int64_t begin, std::int64_t end, float* out) override;

  void keep() override;
  void forget() override;

 private:
  class ByteStream;
  // In this machine's byte order.
  void read_bytes(std::int64_t first_voxel, std::int64_t voxels, unsigned char* out);

  std::string path_;
  NiftiHeader header_;
  Geometry geometry_;
  std::unique_ptr<ByteStream> data_;
  std::vector<unsigned char> buffer_;
  AlignedBuffer kept_;            // voxels in their stored type, between keep() and forget()
  std::int64_t kept_slices_ = 0;  // from the first on
};

struct LabelImage {
  NiftiHeader header;
  Geometry geometry;
  std::vector<std::uint16_t> labels;
};

// A label image: every value must be a whole number from 0 to 65535, or within 0.01 of one, which it then becomes.
// Throws Error (invalid_image) naming file and voxel of any other value.
LabelImage read_labels(const std::string& path);

}  // namespace e2enet::imaging
