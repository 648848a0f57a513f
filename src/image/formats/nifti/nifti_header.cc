#include "image/formats/nifti/nifti_header.h"

#include <nifti/nifti1.h>
#include <nifti/nifti2.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <sstream>
#include <type_traits>
#include <utility>

#include "e2enet/error.h"

namespace e2enet::imaging {
namespace {

static_assert(sizeof(nifti_1_header) == kNifti1HeaderBytes);
static_assert(sizeof(nifti_2_header) == kNifti2HeaderBytes);
static_assert(static_cast<int>(StoredType::uint8) == NIFTI_TYPE_UINT8);
static_assert(static_cast<int>(StoredType::int16) == NIFTI_TYPE_INT16);
static_assert(static_cast<int>(StoredType::int32) == NIFTI_TYPE_INT32);
static_assert(static_cast<int>(StoredType::float32) == NIFTI_TYPE_FLOAT32);
static_assert(static_cast<int>(StoredType::float64) == NIFTI_TYPE_FLOAT64);
static_assert(static_cast<int>(StoredType::int8) == NIFTI_TYPE_INT8);
static_assert(static_cast<int>(StoredType::uint16) == NIFTI_TYPE_UINT16);
static_assert(static_cast<int>(StoredType::uint32) == NIFTI_TYPE_UINT32);
static_assert(static_cast<int>(StoredType::int64) == NIFTI_TYPE_INT64);
static_assert(static_cast<int>(StoredType::uint64) == NIFTI_TYPE_UINT64);

// No image has an axis longer than this; with it no product of three axes and a voxel's bytes overflows 64 bits
// unnoticed.
constexpr std::int64_t kLongestAxis = std::int64_t{1} << 31;
constexpr std::int64_t kMostBytes = std::int64_t{1} << 50;

std::string text(double value) {
  std::ostringstream out;
  out.precision(9);
  out << value;
  return out.str();
}

[[noreturn]] void fail(const std::string& path, const std::string& field, const std::string& expected,
                       const std::string& found) {
  throw Error(ErrorCode::invalid_image, path + ": " + field + ": expected " + expected + ", found " + found);
}

void swap_elements(unsigned char* at, std::size_t element, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += element) std::reverse(at + i, at + i + element);
}

// Only the fields that are used afterwards. By bytes: the library's structures are packed, so no reference may bind to
// their members.
template <typename Header>
void swap_used_fields(Header& header) {
  unsigned char* bytes = reinterpret_cast<unsigned char*>(&header);
#define E2ENET_SWAP(field) swap_elements(bytes + offsetof(Header, field), sizeof(Header::field), sizeof(Header::field))
#define E2ENET_SWAP_ARRAY(field) \
  swap_elements(bytes + offsetof(Header, field), sizeof(Header::field[0]), sizeof(Header::field))
  E2ENET_SWAP(datatype);
  E2ENET_SWAP(bitpix);
  E2ENET_SWAP_ARRAY(dim);
  E2ENET_SWAP_ARRAY(pixdim);
  E2ENET_SWAP(vox_offset);
  E2ENET_SWAP(scl_slope);
  E2ENET_SWAP(scl_inter);
  E2ENET_SWAP(qform_code);
  E2ENET_SWAP(sform_code);
  E2ENET_SWAP(quatern_b);
  E2ENET_SWAP(quatern_c);
  E2ENET_SWAP(quatern_d);
  E2ENET_SWAP(qoffset_x);
  E2ENET_SWAP(qoffset_y);
  E2ENET_SWAP(qoffset_z);
  E2ENET_SWAP_ARRAY(srow_x);
  E2ENET_SWAP_ARRAY(srow_y);
  E2ENET_SWAP_ARRAY(srow_z);
  E2ENET_SWAP(xyzt_units);
#undef E2ENET_SWAP
#undef E2ENET_SWAP_ARRAY
}

const char* name_of_refused_type(int type) {
  switch (type) {
    case 0:
      return " (unknown)";
    case 1:
      return " (one bit)";
    case 32:
      return " (complex)";
    case 128:
      return " (RGB colour)";
    case 1536:
      return " (128-bit float)";
    case 1792:
      return " (complex of doubles)";
    case 2048:
      return " (complex of 128-bit floats)";
    case 2304:
      return " (RGBA colour)";
    default:
      return "";
  }
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

Affine sform_matrix(const NiftiHeader& header) {
  Affine affine{};
  std::copy(header.s_rows.begin(), header.s_rows.end(), affine.begin());
  affine[15] = 1;
  return affine;
}

// From the definition in nifti1.h, METHOD 2.
Affine qform_matrix(const NiftiHeader& header) {
  double b = header.quaternion[0], c = header.quaternion[1], d = header.quaternion[2];
  const double rest = 1.0 - (b * b + c * c + d * d);
  double a = 0;
  if (rest < 1e-7) {  // a half turn, up to rounding: the three must be made a unit vector
    const double length = std::sqrt(b * b + c * c + d * d);
    b /= length;
    c /= length;
    d /= length;
  } else {
    a = std::sqrt(rest);
  }
  const double sign = header.pixdim[0] < 0 ? -1 : 1;
  const double x = std::abs(header.pixdim[1]), y = std::abs(header.pixdim[2]), z = sign * std::abs(header.pixdim[3]);
  return {(a * a + b * b - c * c - d * d) * x,
          2 * (b * c - a * d) * y,
          2 * (b * d + a * c) * z,
          header.q_offset[0],
          2 * (b * c + a * d) * x,
          (a * a + c * c - b * b - d * d) * y,
          2 * (c * d - a * b) * z,
          header.q_offset[1],
          2 * (b * d - a * c) * x,
          2 * (c * d + a * b) * y,
          (a * a + d * d - c * c - b * b) * z,
          header.q_offset[2],
          0,
          0,
          0,
          1};
}

// Why the sform cannot be used; empty where it can.
std::string fault_of_sform(const NiftiHeader& header) {
  for (std::size_t i = 0; i < 12; ++i) {
    if (std::isfinite(header.s_rows[i])) continue;
    return std::string("srow_") + "xyz"[i / 4] + "[" + std::to_string(i % 4) + "] " + text(header.s_rows[i]);
  }
  const Affine affine = sform_matrix(header);
  if (usable(affine)) return "";
  Geometry geometry;
  geometry.affine = affine;
  return "srow_x, srow_y, srow_z with a determinant of " + text(geometry.voxel_ml() * 1000) +
         ", which are not three independent axes";
}

// Why the qform cannot be used; empty where it can.
std::string fault_of_qform(const NiftiHeader& header) {
  // Files round a half turn's quaternion; a longer one is no rotation at all.
  constexpr double kLongest = 1.001;
  double squares = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    if (!std::isfinite(header.quaternion[i])) {
      return std::string("quatern_") + "bcd"[i] + " " + text(header.quaternion[i]);
    }
    if (!std::isfinite(header.q_offset[i])) {
      return std::string("qoffset_") + "xyz"[i] + " " + text(header.q_offset[i]);
    }
    squares += header.quaternion[i] * header.quaternion[i];
  }
  if (squares <= kLongest) return "";
  return "quatern_b, quatern_c, quatern_d with squares that add up to " + text(squares) + ", where 1 is the most";
}

// Decides between the two matrices and says so where that needs an explanation.
void check_matrices(NiftiHeader& header, const std::string& path) {
  constexpr int kLastCode = 5;  // NIFTI_XFORM_TEMPLATE_OTHER
  const std::pair<const char*, int> codes[] = {{"sform_code", header.sform_code}, {"qform_code", header.qform_code}};
  for (const auto& [field, code] : codes) {
    // Some programs take the matrix of an unknown code, others take it for 0.
    if (code > kLastCode) fail(path, field, "0 to " + std::to_string(kLastCode), std::to_string(code));
  }
  const auto remark = [&](const std::string& what) { header.remarks.push_back({Remark::Weight::remark, what}); };
  if (header.sform_code <= 0 && header.qform_code <= 0) {
    remark(
        "it does not tell how it lies (sform_code and qform_code are 0): i, j, k are taken to run to the right, to the "
        "front and upwards (RAS)");
    return;
  }
  const std::string sform = header.sform_code > 0 ? fault_of_sform(header) : "";
  const std::string qform = header.qform_code > 0 ? fault_of_qform(header) : "";
  switch (header.matrix_source()) {
    case MatrixSource::sform:
      if (!qform.empty())
        remark("its qform cannot be used (" + qform + "): the sform is used, as always where it is good");
      if (header.qform_code > 0 && qform.empty()) {
        const std::string differs = difference(sform_matrix(header), qform_matrix(header));
        if (!differs.empty()) remark("its sform and qform differ (" + differs + "): the sform is used");
      }
      break;
    case MatrixSource::qform:
      if (header.pixdim[0] < 0 && header.pixdim[0] != -1) {
        // Some programs look at the sign, others take what is not -1 for 1: k runs one way or the other.
        fail(path, "pixdim[0]", "1 or -1, as the qform is used", text(header.pixdim[0]));
      }
      if (!sform.empty()) remark("its sform cannot be used (" + sform + "): the qform is used");
      break;
    case MatrixSource::spacing:
      fail(path, header.sform_code > 0 ? header.qform_code > 0 ? "sform and qform" : "sform" : "qform",
           "a usable matrix, as its code is above 0", sform + (sform.empty() || qform.empty() ? "" : ", and ") + qform);
  }
}

double millimetres_per_unit(int units) {
  switch (units & 7) {
    case NIFTI_UNITS_METER:
      return 1000.0;
    case NIFTI_UNITS_MICRON:
      return 0.001;
    default:
      return 1.0;  // mm, or not said
  }
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

template <typename Header>
void fill(Header& raw, const NiftiHeader& header, StoredType type, std::int64_t volumes) {
  using Dimension = std::remove_reference_t<decltype(raw.dim[0])>;
  using Real = std::remove_reference_t<decltype(raw.pixdim[0])>;
  raw.datatype = static_cast<std::int16_t>(type);
  raw.bitpix = static_cast<std::int16_t>(8 * bytes_of(type));
  raw.dim[0] = volumes > 1 ? 4 : 3;
  for (std::size_t axis = 1; axis < 8; ++axis) raw.dim[axis] = 1;
  for (std::size_t axis = 1; axis <= 3; ++axis) raw.dim[axis] = static_cast<Dimension>(header.shape[3 - axis]);
  raw.dim[4] = static_cast<Dimension>(volumes);
  for (std::size_t i = 0; i < 8; ++i) raw.pixdim[i] = static_cast<Real>(header.pixdim[i]);
  raw.scl_slope = 1;
  raw.qform_code = static_cast<decltype(raw.qform_code)>(header.qform_code);
  raw.sform_code = static_cast<decltype(raw.sform_code)>(header.sform_code);
  raw.quatern_b = static_cast<Real>(header.quaternion[0]);
  raw.quatern_c = static_cast<Real>(header.quaternion[1]);
  raw.quatern_d = static_cast<Real>(header.quaternion[2]);
  raw.qoffset_x = static_cast<Real>(header.q_offset[0]);
  raw.qoffset_y = static_cast<Real>(header.q_offset[1]);
  raw.qoffset_z = static_cast<Real>(header.q_offset[2]);
  for (std::size_t i = 0; i < 4; ++i) {
    raw.srow_x[i] = static_cast<Real>(header.s_rows[i]);
    raw.srow_y[i] = static_cast<Real>(header.s_rows[4 + i]);
    raw.srow_z[i] = static_cast<Real>(header.s_rows[8 + i]);
  }
  raw.xyzt_units = static_cast<decltype(raw.xyzt_units)>(header.units);
}

}  // namespace

std::size_t bytes_of(StoredType type) {
  switch (type) {
    case StoredType::uint8:
    case StoredType::int8:
      return 1;
    case StoredType::int16:
    case StoredType::uint16:
      return 2;
    case StoredType::int32:
    case StoredType::uint32:
    case StoredType::float32:
      return 4;
    case StoredType::float64:
    case StoredType::int64:
    case StoredType::uint64:
      return 8;
  }
  throw Error(ErrorCode::internal, "a stored type without a size");
}

std::int64_t NiftiHeader::data_bytes() const {
  return shape[0] * shape[1] * shape[2] * static_cast<std::int64_t>(bytes_of(type));
}

const char* matrix_name(MatrixSource source) {
  switch (source) {
    case MatrixSource::sform:
      return "sform";
    case MatrixSource::qform:
      return "qform";
    case MatrixSource::spacing:
      return "spacing";
  }
  throw Error(ErrorCode::internal, "a matrix without a name");
}

MatrixSource NiftiHeader::matrix_source() const {
  if (sform_code > 0 && fault_of_sform(*this).empty()) return MatrixSource::sform;
  if (qform_code > 0 && fault_of_qform(*this).empty()) return MatrixSource::qform;
  return MatrixSource::spacing;
}

Geometry NiftiHeader::geometry() const {
  Geometry geometry;
  geometry.shape = shape;
  const double scale = millimetres_per_unit(units);
  geometry.spacing = {std::abs(pixdim[3]) * scale, std::abs(pixdim[2]) * scale, std::abs(pixdim[1]) * scale};
  switch (matrix_source()) {
    case MatrixSource::sform:
      geometry.affine = sform_matrix(*this);
      break;
    case MatrixSource::qform:
      geometry.affine = qform_matrix(*this);
      break;
    case MatrixSource::spacing:
      geometry.affine = {
          std::abs(pixdim[1]), 0, 0, 0, 0, std::abs(pixdim[2]), 0, 0, 0, 0, std::abs(pixdim[3]), 0, 0, 0, 0, 1};
      break;
  }
  for (std::size_t i = 0; i < 12; ++i) geometry.affine[i] *= scale;
  return geometry;
}

NiftiHeader NiftiHeader::from_geometry(const Geometry& geometry) {
  NiftiHeader header;
  header.shape = geometry.shape;
  header.pixdim = {1, geometry.spacing[2], geometry.spacing[1], geometry.spacing[0], 0, 0, 0, 0};
  header.sform_code = NIFTI_XFORM_SCANNER_ANAT;
  std::copy_n(geometry.affine.begin(), 12, header.s_rows.begin());
  header.units = NIFTI_UNITS_MM;
  return header;
}

NiftiHeader parse_nifti_header(const unsigned char* bytes, std::size_t size, const std::string& path) {
  std::int32_t header_size = 0;
  if (size >= 4) std::memcpy(&header_size, bytes, 4);
  std::int32_t other_order = header_size;
  swap_elements(reinterpret_cast<unsigned char*>(&other_order), 4, 4);
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
    if (swapped) swap_used_fields(raw);
    return checked(raw, 1, swapped, pair, extensions, path);
  }
  nifti_2_header raw;
  std::memcpy(&raw, bytes, sizeof raw);
  const bool pair = separate_data(raw.magic, "n+2", "ni2");
  // These eight bytes are there to show a transfer that took the file for text.
  if (std::memcmp(raw.magic + 4, "\r\n\032\n", 4) != 0) {
    fail(path, "magic", "the bytes 0D 0A 1A 0A after the version", "others: the file was changed on its way");
  }
  if (swapped) swap_used_fields(raw);
  return checked(raw, 2, swapped, pair, extensions, path);
}

std::vector<unsigned char> serialise_nifti_header(const NiftiHeader& header, StoredType type, std::int64_t volumes) {
  constexpr std::int64_t kLargestShort = std::numeric_limits<std::int16_t>::max();
  const bool long_axis =
      *std::max_element(header.shape.begin(), header.shape.end()) > kLargestShort || volumes > kLargestShort;
  const auto bytes_with = [&](const auto& raw) {
    std::vector<unsigned char> bytes(sizeof raw + 4, 0);
    std::memcpy(bytes.data(), &raw, sizeof raw);
    // In a pair the four bytes that would announce extensions are optional; zeros are right in both places.
    return bytes;
  };
  if (header.version == 1 && !long_axis) {
    nifti_1_header raw;
    std::memset(&raw, 0, sizeof raw);
    raw.sizeof_hdr = static_cast<int>(sizeof raw);
    raw.regular = 'r';
    std::memcpy(raw.magic, header.separate_data ? "ni1" : "n+1", 4);
    raw.vox_offset = header.separate_data ? 0.0f : static_cast<float>(sizeof raw + 4);
    fill(raw, header, type, volumes);
    return bytes_with(raw);
  }
  nifti_2_header raw;
  std::memset(&raw, 0, sizeof raw);
  raw.sizeof_hdr = static_cast<int>(sizeof raw);
  std::memcpy(raw.magic, header.separate_data ? "ni2\0\r\n\032\n" : "n+2\0\r\n\032\n", 8);
  raw.vox_offset = header.separate_data ? 0 : static_cast<std::int64_t>(sizeof raw + 4);
  fill(raw, header, type, volumes);
  return bytes_with(raw);
}

}  // namespace e2enet::imaging
