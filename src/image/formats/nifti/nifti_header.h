// The header of a NIfTI file, NIfTI-1 and NIfTI-2 alike, checked.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "e2enet/volume.h"
#include "image/geometry.h"

namespace e2enet::imaging {

// The types that hold one number a voxel; the values are the format's own codes.
enum class StoredType : std::int16_t {
  uint8 = 2,
  int16 = 4,
  int32 = 8,
  float32 = 16,
  float64 = 64,
  int8 = 256,
  uint16 = 512,
  uint32 = 768,
  int64 = 1024,
  uint64 = 1280,
};

std::size_t bytes_of(StoredType type);
// To the other byte order, in place.
void swap_bytes(StoredType type, void* values, std::int64_t count);

// What says where an image lies.
enum class MatrixSource { sform, qform, spacing };
const char* matrix_name(MatrixSource source);  // "sform", "qform", "spacing"

struct NiftiHeader {
  int version = 1;             // 1 or 2
  bool swapped = false;        // the file's byte order is not this machine's
  bool separate_data = false;  // voxels are in an .img file of their own
  StoredType type = StoredType::float32;
  Shape shape{0, 0, 0};
  std::int64_t voxel_offset = 0;
  bool scaled = false;  // value = slope * stored + intercept
  double slope = 1;
  double intercept = 0;

  // What says where the image lies, as stored: kept bit for bit in outputs.
  std::array<double, 8> pixdim{1, 1, 1, 1, 0, 0, 0, 0};
  int qform_code = 0;
  int sform_code = 0;
  std::array<double, 3> quaternion{0, 0, 0};  // b, c, d
  std::array<double, 3> q_offset{0, 0, 0};
  std::array<double, 12> s_rows{};  // x, y, z rows
  int units = 0;                    // xyzt_units
  bool labels = false;              // written with the intent that says so, so that viewers give labels colours

  // How what is peculiar about the header was read.
  std::vector<Remark> remarks;

  // The sform if it is claimed and usable, else the qform if that is, else the spacing alone.
  MatrixSource matrix_source() const;
  // Spacing: the magnitude of pixdim; the affine from matrix_source(). In mm: metres and micrometres are converted.
  Geometry geometry() const;
  std::int64_t data_bytes() const;

  // A header for an image that has no file of its own: an sform with the geometry's affine.
  static NiftiHeader from_geometry(const Geometry& geometry);
};

constexpr std::size_t kNifti1HeaderBytes = 348;
constexpr std::size_t kNifti2HeaderBytes = 540;

// Checks every field that is used. `size` may be more than the header; fewer bytes than the header needs are an error.
// Four bytes more tell whether extensions follow. What others read in one way only is read so too, with a remark.
// Throws Error (invalid_image) naming `path`, the field, what was expected and what was found.
NiftiHeader parse_nifti_header(const unsigned char* bytes, std::size_t size, const std::string& path);

// The bytes from the file's start to its first voxel (with the four bytes that say "no extensions") for `volumes`
// volumes of `type`. The version becomes 2 where a dimension needs it.
std::vector<unsigned char> serialise_nifti_header(const NiftiHeader& header, StoredType type, std::int64_t volumes);

}  // namespace e2enet::imaging
