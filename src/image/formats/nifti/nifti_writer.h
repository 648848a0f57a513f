// Writes NIfTI images: labels and probabilities, with the geometry of the image that they belong to.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "image/formats/nifti/nifti_header.h"

namespace e2enet::imaging {

// Takes an image's voxels in file order (i fastest) in any number of calls. The file appears under its name at commit()
// and not before; without it nothing is left behind. Gzips where the name ends in .gz; `.hdr` or `.img` names write the
// pair. Throws Error (cannot_write).
//
//   ImageWriter writer("labels.nii.gz", image.header, StoredType::uint8);
//   for (...) writer.append(labels_of_slice, voxels);
//   writer.commit();
class ImageWriter {
 public:
  // `like` gives shape, geometry and NIfTI version; `type` is uint8, int16 or float32; `volumes` more than 1 writes a
  // 4D image, volume after volume. `threads` 0: all.
  ImageWriter(const std::string& path, const NiftiHeader& like, StoredType type, std::int64_t volumes = 1,
              int threads = 0);
  ~ImageWriter();
  ImageWriter(ImageWriter&&) noexcept;

  // Labels, for uint8 and int16 images: a value that the type cannot hold is an error (internal).
  void append(const std::uint16_t* labels, std::int64_t count);
  void append(const std::uint8_t* labels, std::int64_t count);
  // For float32 images.
  void append(const float* values, std::int64_t count);

  // All voxels must have been appended.
  void commit();

 private:
  struct Output;
  void append_bytes(const void* bytes, std::int64_t count);

  std::unique_ptr<Output> output_;
  StoredType type_;
  std::int64_t missing_;  // voxels still to come
  std::vector<unsigned char> buffer_;
};

// The smallest type for labels up to `largest`: uint8 or int16.
StoredType label_type(int largest);

}  // namespace e2enet::imaging
