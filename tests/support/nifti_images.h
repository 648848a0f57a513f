// Whole NIfTI images at once, as tests want them. The library itself never holds one: it reads and writes slices.
#pragma once

#include <cstdint>
#include <string>

#include "base/aligned_buffer.h"
#include "base/checked_size.h"
#include "image/formats/nifti/nifti_reader.h"
#include "image/formats/nifti/nifti_writer.h"

namespace e2enet::imaging {

struct Image {
  NiftiHeader header;
  Geometry geometry;
  AlignedBuffer voxels;

  float* data() { return reinterpret_cast<float*>(voxels.data()); }
  const float* data() const { return reinterpret_cast<const float*>(voxels.data()); }
};

inline Image read_image(const std::string& path) {
  ImageReader reader(path);
  Image image;
  image.header = reader.header();
  image.geometry = reader.geometry();
  image.voxels = AlignedBuffer(checked_size(path.c_str(), image.geometry.voxels(), sizeof(float)), path.c_str());
  const std::int64_t slices = reader.shape()[0];
  for (std::int64_t d = 0; d < slices; ++d) reader.read(d, d + 1, image.data() + d * reader.slice_size());
  return image;
}

inline void write_labels(const std::string& path, const NiftiHeader& like, const std::uint16_t* labels,
                         int largest_label, int threads = 0) {
  ImageWriter writer(path, like, label_type(largest_label), 1, threads);
  writer.append(labels, like.shape[0] * like.shape[1] * like.shape[2]);
  writer.commit();
}

// A 4D image: `values` is (volumes, D, H, W).
inline void write_volumes(const std::string& path, const NiftiHeader& like, const float* values, std::int64_t volumes,
                          int threads = 0) {
  ImageWriter writer(path, like, StoredType::float32, volumes, threads);
  writer.append(values, like.shape[0] * like.shape[1] * like.shape[2] * volumes);
  writer.commit();
}

}  // namespace e2enet::imaging
