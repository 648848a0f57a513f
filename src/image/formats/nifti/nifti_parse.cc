#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "e2enet/error.h"
#include "image/formats/nifti/nifti_layout.h"
#include "image/formats/nifti/nifti_matrix.h"

namespace e2enet::imaging {
namespace {

// No image has an axis longer than this; with it no product of three axes and a voxel's bytes overflows 64 bits
// unnoticed.
constexpr std::int64_t kLongestAxis = std::int64_t{1} << 31;
constexpr std::int64_t kMostBytes = std::int64_t{1} << 50;

// " (COMPLEX64)"; empty of a number that is no type.
std::string name_of_refused_type(int type) {
  const bool known = type == DT_UNKNOWN || nifti_is_valid_datatype(type) != 0;
  return known ? std::string(" (") + nifti_datatype_string(type) + ")" : "";
}

bool is_known_type(int type) {
  switch (static_cast<StoredType>(type)) {
    case StoredType::uint8:
    case StoredType::int16:
    case StoredType::int32:
    case StoredType::float32:
    case StoredType::float64:
    case StoredType::int8:
    case StoredType::uint16:
    case StoredType::uint32:
    case StoredType::int64:
    case StoredType::uint64:
      return true;
  }
  return false;
}

template <typename Header>
NiftiHeader checked(const Header& raw, int version, bool swapped, bool separate_data, bool extensions,
                    const std::string& path) {
  NiftiHeader header;
  const auto remark = [&](const std::string& what) { header.remarks.push_back({Remark::Weight::remark, what}); };
  header.version = version;
  header.swapped = swapped;
  header.separate_data = separate_data;

  const int type = raw.datatype;
  if (!is_known_type(type)) {
    fail(path, "datatype", "an integer or real type (2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280)",
         std::to_string(type) + name_of_refused_type(type));
  }
  header.type = static_cast<StoredType>(type);
  const int bits = static_cast<int>(8 * bytes_of(header.type));
  if (raw.bitpix != bits) {
    remark("its bitpix is " + std::to_string(raw.bitpix) + ", where datatype " + std::to_string(type) + " has " +
           std::to_string(bits) + ": the datatype counts");
  }

  const std::int64_t dimensions = raw.dim[0];
  if (dimensions < 1 || dimensions > 7) fail(path, "dim[0]", "3 dimensions", std::to_string(dimensions));
  if (dimensions < 3) {
    fail(path, "dim[0]", "a volume of 3 dimensions", "an image of " + std::to_string(dimensions));
  }
  for (int axis = 1; axis <= dimensions; ++axis) {
    const std::int64_t size = raw.dim[axis];
    const std::string field = "dim[" + std::to_string(axis) + "]";
    if (axis > 3 && size == 0) {
      remark("its " + field + " is 0: taken as 1");
      continue;
    }
    if (size < 1 || size > kLongestAxis) fail(path, field, "a size from 1 to 2^31", std::to_string(size));
    if (axis > 3 && size != 1) {
      fail(path, field, "a single volume (1)", std::to_string(size) + (axis == 4 ? " volumes" : ""));
    }
  }
  header.shape = {raw.dim[3], raw.dim[2], raw.dim[1]};
  // Divisions, as the product itself may not fit.
  if (raw.dim[1] > kMostBytes / raw.dim[2] / raw.dim[3] / static_cast<std::int64_t>(bytes_of(header.type))) {
    fail(path, "dim", "a volume of less than 2^50 bytes",
         std::to_string(raw.dim[1]) + " x " + std::to_string(raw.dim[2]) + " x " + std::to_string(raw.dim[3]) +
             " voxels");
  }

  double offset = static_cast<double>(raw.vox_offset);
  const double smallest = separate_data ? 0 : (version == 1 ? kNifti1HeaderBytes : kNifti2HeaderBytes) + 4.0;
  // Without extensions there is only one place for the voxels.
  if (!separate_data && offset == 0 && !extensions) {
    offset = smallest;
    remark("its vox_offset is 0: the voxels are taken to follow the header, from byte " + text(smallest));
  }
  if (!(offset >= smallest && offset <= static_cast<double>(kMostBytes)) || offset != std::floor(offset)) {
    fail(path, "vox_offset", "a whole number of bytes, at least " + text(smallest), text(offset));
  }
  header.voxel_offset = static_cast<std::int64_t>(offset);

  const double slope = raw.scl_slope, intercept = raw.scl_inter;
  if (std::isinf(slope)) fail(path, "scl_slope", "a finite number", text(slope));
  if (slope != 0 && !std::isnan(slope)) {  // both mean "not scaled"
    if (!std::isfinite(intercept)) fail(path, "scl_inter", "a finite number", text(intercept));
    header.scaled = slope != 1 || intercept != 0;
    header.slope = slope;
    header.intercept = intercept;
  }

  for (int i = 0; i < 8; ++i) header.pixdim[static_cast<std::size_t>(i)] = raw.pixdim[i];
  for (int axis = 1; axis <= 3; ++axis) {
    const double spacing = raw.pixdim[axis];
    const std::string field = "pixdim[" + std::to_string(axis) + "]";
    // Of 0, some make 1 and some the matrix's length.
    if (spacing == 0 || !std::isfinite(spacing)) fail(path, field, "a spacing above 0", text(spacing));
    if (spacing < 0) remark("its " + field + " is " + text(spacing) + ": taken as " + text(-spacing));
  }
  header.qform_code = raw.qform_code;
  header.sform_code = raw.sform_code;
  header.quaternion = {raw.quatern_b, raw.quatern_c, raw.quatern_d};
  header.q_offset = {raw.qoffset_x, raw.qoffset_y, raw.qoffset_z};
  for (std::size_t i = 0; i < 4; ++i) {
    header.s_rows[i] = raw.srow_x[i];
    header.s_rows[4 + i] = raw.srow_y[i];
    header.s_rows[8 + i] = raw.srow_z[i];
  }
  header.units = raw.xyzt_units;

  check_matrices(header, path);
  // What NIfTI-2 stores in metres or micrometres can leave the numbers that there are when it is brought to
  // millimetres.
  const Geometry geometry = header.geometry();
  for (const double spacing : geometry.spacing) {
    if (!(spacing > 0 && std::isfinite(spacing))) fail(path, "pixdim", "a spacing above 0 mm", text(spacing) + " mm");
  }
  for (const double value : geometry.affine) {
    if (!std::isfinite(value)) fail(path, "the affine", "finite numbers of mm", text(value));
  }
  if (!usable(geometry.affine)) fail(path, "the affine", "three independent axes in mm", "others");
  const std::vector<Remark> geometry_remarks = contradictions(geometry, matrix_name(header.matrix_source()), "pixdim");
  header.remarks.insert(header.remarks.end(), geometry_remarks.begin(), geometry_remarks.end());
  return header;
}

}  // namespace

NiftiHeader parse_nifti_header(const unsigned char* bytes, std::size_t size, const std::string& path) {
  std::int32_t header_size = 0;
  if (size >= 4) std::memcpy(&header_size, bytes, 4);
  std::int32_t other_order = header_size;
  nifti_swap_4bytes(1, &other_order);
  const bool swapped = other_order == 348 || other_order == 540;
  const int version = (swapped ? other_order : header_size) == 348   ? 1
                      : (swapped ? other_order : header_size) == 540 ? 2
                                                                     : 0;
  if (version == 0) {
    fail(path, "sizeof_hdr", "a NIfTI header (348 or 540)",
         size < 4 ? std::to_string(size) + " bytes in all" : std::to_string(header_size));
  }
  const std::size_t needed = version == 1 ? kNifti1HeaderBytes : kNifti2HeaderBytes;
  if (size < needed) {
    fail(path, "header", std::to_string(needed) + " bytes", std::to_string(size) + ": the file is cut short");
  }

  // The first of the four bytes after the header says whether extensions follow.
  const bool extensions = size > needed && bytes[needed] != 0;
  const auto separate_data = [&](const char* magic, const char* single, const char* pair) {
    if (std::memcmp(magic, single, 4) == 0) return false;
    if (std::memcmp(magic, pair, 4) == 0) return true;
    std::string found;
    for (int i = 0; i < 4; ++i) {
      if (magic[i] >= 32 && magic[i] < 127) found += magic[i];
    }
    fail(path, "magic", std::string("'") + single + "' or '" + pair + "'",
         found.empty() ? "none (an ANALYZE file?)" : "'" + found + "'");
  };
  if (version == 1) {
    nifti_1_header raw;
    std::memcpy(&raw, bytes, sizeof raw);
    const bool pair = separate_data(raw.magic, "n+1", "ni1");
    if (swapped) nifti_swap_as_nifti1(&raw);
    return checked(raw, 1, swapped, pair, extensions, path);
  }
  nifti_2_header raw;
  std::memcpy(&raw, bytes, sizeof raw);
  const bool pair = separate_data(raw.magic, "n+2", "ni2");
  // These eight bytes are there to show a transfer that took the file for text.
  if (std::memcmp(raw.magic + 4, "\r\n\032\n", 4) != 0) {
    fail(path, "magic", "the bytes 0D 0A 1A 0A after the version", "others: the file was changed on its way");
  }
  if (swapped) nifti_swap_as_nifti2(&raw);
  return checked(raw, 2, swapped, pair, extensions, path);
}

}  // namespace e2enet::imaging
